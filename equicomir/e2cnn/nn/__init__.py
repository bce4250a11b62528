"""The names of ``e2cnn.nn`` 0.2.3: escnn's modules, with e2cnn's arguments where they differ."""

from typing import Any

from equicomir.e2cnn.absent import refuse
from equicomir.e2cnn.engine import escnn
from equicomir.e2cnn.nn import init
from equicomir.e2cnn.nn.convolutions import R2Conv, R2ConvTransposed
from equicomir.e2cnn.nn.fields import FieldType, ModuleList

GeometricTensor = escnn.nn.GeometricTensor
tensor_directsum = escnn.nn.tensor_directsum
EquivariantModule = escnn.nn.EquivariantModule
BranchingModule = escnn.nn.BranchingModule
MergeModule = escnn.nn.MergeModule
MultipleModule = escnn.nn.MultipleModule
R2Upsampling = escnn.nn.R2Upsampling
GatedNonLinearity1 = escnn.nn.GatedNonLinearity1
GatedNonLinearity2 = escnn.nn.GatedNonLinearity2
InducedGatedNonLinearity1 = escnn.nn.InducedGatedNonLinearity1
NormNonLinearity = escnn.nn.NormNonLinearity
InducedNormNonLinearity = escnn.nn.InducedNormNonLinearity
PointwiseNonLinearity = escnn.nn.PointwiseNonLinearity
ConcatenatedNonLinearity = escnn.nn.ConcatenatedNonLinearity
VectorFieldNonLinearity = escnn.nn.VectorFieldNonLinearity
ReLU = escnn.nn.ReLU
ELU = escnn.nn.ELU
ReshuffleModule = escnn.nn.ReshuffleModule
NormMaxPool = escnn.nn.NormMaxPool
PointwiseMaxPool = escnn.nn.PointwiseMaxPool
PointwiseMaxPoolAntialiased = escnn.nn.PointwiseMaxPoolAntialiased
PointwiseAvgPool = escnn.nn.PointwiseAvgPool
PointwiseAvgPoolAntialiased = escnn.nn.PointwiseAvgPoolAntialiased
PointwiseAdaptiveAvgPool = escnn.nn.PointwiseAdaptiveAvgPool
PointwiseAdaptiveMaxPool = escnn.nn.PointwiseAdaptiveMaxPool
GroupPooling = escnn.nn.GroupPooling
MaxPoolChannels = escnn.nn.MaxPoolChannels
NormPool = escnn.nn.NormPool
InducedNormPool = escnn.nn.InducedNormPool
InnerBatchNorm = escnn.nn.InnerBatchNorm
NormBatchNorm = escnn.nn.NormBatchNorm
InducedNormBatchNorm = escnn.nn.InducedNormBatchNorm
GNormBatchNorm = escnn.nn.GNormBatchNorm
RestrictionModule = escnn.nn.RestrictionModule
DisentangleModule = escnn.nn.DisentangleModule
FieldDropout = escnn.nn.FieldDropout
PointwiseDropout = escnn.nn.PointwiseDropout
SequentialModule = escnn.nn.SequentialModule
IdentityModule = escnn.nn.IdentityModule
MaskModule = escnn.nn.MaskModule

__all__ = [
    "ELU",
    "BranchingModule",
    "ConcatenatedNonLinearity",
    "DisentangleModule",
    "EquivariantModule",
    "FieldDropout",
    "FieldType",
    "GNormBatchNorm",
    "GatedNonLinearity1",
    "GatedNonLinearity2",
    "GeometricTensor",
    "GroupPooling",
    "IdentityModule",
    "InducedGatedNonLinearity1",
    "InducedNormBatchNorm",
    "InducedNormNonLinearity",
    "InducedNormPool",
    "InnerBatchNorm",
    "MaskModule",
    "MaxPoolChannels",
    "MergeModule",
    "ModuleList",
    "MultipleModule",
    "NormBatchNorm",
    "NormMaxPool",
    "NormNonLinearity",
    "NormPool",
    "PointwiseAdaptiveAvgPool",
    "PointwiseAdaptiveMaxPool",
    "PointwiseAvgPool",
    "PointwiseAvgPoolAntialiased",
    "PointwiseDropout",
    "PointwiseMaxPool",
    "PointwiseMaxPoolAntialiased",
    "PointwiseNonLinearity",
    "R2Conv",
    "R2ConvTransposed",
    "R2Upsampling",
    "ReLU",
    "ReshuffleModule",
    "RestrictionModule",
    "SequentialModule",
    "VectorFieldNonLinearity",
    "init",
    "tensor_directsum",
]


def __getattr__(name: str) -> Any:
    raise refuse("e2cnn.nn", name)
