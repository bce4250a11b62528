import inspect
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

import equicomir.e2cnn
from equicomir.e2cnn import group, gspaces, nn
from equicomir.e2cnn.engine import escnn
from equicomir.e2cnn.installation import install

ABOUT = json.loads((Path(__file__).parent / "fixtures" / "e2cnn" / "fixtures.json").read_text())
MODULES = {"e2cnn.nn": nn, "e2cnn.gspaces": gspaces, "e2cnn.group": group}


@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_e2cnn_is_offered_with_its_parameters_or_refused(module):
    for name, parameters in ABOUT["names"][module].items():
        if name == "R2Diffop":
            with pytest.raises(NotImplementedError, match=r"R2Diffop cannot .*use R2Conv"):
                getattr(MODULES[module], name)
            continue
        assert name in MODULES[module].__all__
        ours = getattr(MODULES[module], name)
        abstract = ("Group", "GSpace", "GeneralOnR2", "Representation", "IrreducibleRepresentation")
        if parameters and name not in abstract:
            offered = list(inspect.signature(ours).parameters)
            assert offered[: len(parameters)] == parameters, name


def test_what_cannot_be_offered_says_why_and_a_name_e2cnn_never_had_is_unknown():
    for name in ("diffops", "kernels"):
        with pytest.raises(NotImplementedError, match=rf"e2cnn.{name} cannot be offered: .*use "):
            getattr(equicomir.e2cnn, name)
    for module in (equicomir.e2cnn, nn, nn.init, gspaces, group):
        with pytest.raises(AttributeError, match="no name 'R3Conv'"):
            module.R3Conv  # noqa: B018
        assert not hasattr(module, "R3Conv")


def test_isinstance_tells_the_spaces_apart():
    spaces = {
        gspaces.Rot2dOnR2: gspaces.Rot2dOnR2(N=8),
        gspaces.FlipRot2dOnR2: gspaces.FlipRot2dOnR2(N=8),
        gspaces.Flip2dOnR2: gspaces.Flip2dOnR2(),
        gspaces.TrivialOnR2: gspaces.TrivialOnR2(),
    }
    for kind, space in spaces.items():
        assert isinstance(space, gspaces.GSpace)
        assert [isinstance(space, k) for k in spaces] == [k is kind for k in spaces]
        assert space == kind(fibergroup=space.fibergroup)
    assert gspaces.Rot2dOnR2(8) == spaces[gspaces.Rot2dOnR2] != gspaces.Rot2dOnR2(4)
    assert gspaces.Rot2dOnR2(8) == escnn.gspaces.rot2dOnR2(8)
    assert gspaces.FlipRot2dOnR2(4) != gspaces.FlipRot2dOnR2(4, axis=0.1)


@pytest.mark.parametrize(
    ("space", "id", "kind", "order"),
    [
        (gspaces.Rot2dOnR2(8), 4, gspaces.Rot2dOnR2, 4),
        (gspaces.Rot2dOnR2(8), 1, gspaces.TrivialOnR2, 1),
        (gspaces.Rot2dOnR2(-1, maximum_frequency=1), 3, gspaces.Rot2dOnR2, 3),
        (gspaces.FlipRot2dOnR2(4), (None, 4), gspaces.Rot2dOnR2, 4),
        (gspaces.FlipRot2dOnR2(4), (3, 1), gspaces.Flip2dOnR2, 2),
        (gspaces.FlipRot2dOnR2(4), (1, 2), gspaces.FlipRot2dOnR2, 4),
        (gspaces.FlipRot2dOnR2(4), (None, 1), gspaces.TrivialOnR2, 1),
        (gspaces.FlipRot2dOnR2(-1, maximum_frequency=1), (None, -1), gspaces.Rot2dOnR2, -1),
        (gspaces.Flip2dOnR2(0.3), 2, gspaces.Flip2dOnR2, 2),
        (gspaces.TrivialOnR2(), 1, gspaces.TrivialOnR2, 1),
    ],
)
def test_a_restriction_is_of_the_right_class_and_acts_as_before(space, id, kind, order):
    smaller, into, back = space.restrict(id)
    assert type(smaller) is kind
    assert smaller.fibergroup.order() == order
    for element in list(smaller.testing_elements)[:8]:
        assert back(into(element)) == element
        ours, theirs = smaller.basespace_action(element), space.basespace_action(into(element))
        assert abs(ours - theirs).max() < 1e-9


def test_representations_by_name_stop_at_the_maximum_frequency():
    gspaces.Rot2dOnR2(-1, maximum_frequency=5)  # the group is one for all spaces
    space = gspaces.Rot2dOnR2(N=-1, maximum_frequency=2)
    assert list(space.irreps) == ["irrep_0", "irrep_1", "irrep_2"]
    assert set(space.representations) >= set(space.irreps)
    assert "irrep_5" not in space.representations
    assert gspaces.Rot2dOnR2(8).quotient_repr(2).size == 4
    assert gspaces.Rot2dOnR2(8).representations["regular"].size == 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gspaces.Rot2dOnR2(), "expected either N or fibergroup"),
        (lambda: gspaces.Rot2dOnR2(4, fibergroup=group.cyclic_group(4)), "either N or fibergroup"),
        (lambda: gspaces.Rot2dOnR2(1), "expected N of 2 or more rotations.*got 1"),
        (lambda: gspaces.FlipRot2dOnR2(0), "expected N of 2 or more rotations.*got 0"),
        (lambda: gspaces.Rot2dOnR2(4, maximum_frequency=2), "expected no maximum_frequency"),
        (lambda: gspaces.FlipRot2dOnR2(-1), "expected maximum_frequency where N is -1"),
        (lambda: gspaces.Flip2dOnR2(fibergroup=group.cyclic_group(3)), "fibergroup of order 2"),
        (lambda: gspaces.TrivialOnR2(group.cyclic_group(3)), "fibergroup of order 1"),
    ],
)
def test_arguments_that_name_no_group_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_arguments_of_e2cnn_that_escnn_lacks():
    space = gspaces.Rot2dOnR2(4)
    image = nn.FieldType(space, [space.regular_repr])
    for layer in (nn.R2Conv, nn.R2ConvTransposed):
        with pytest.raises(ValueError, match=r"expected basisexpansion='blocks'.*got 'irreps'"):
            layer(image, image, 3, basisexpansion="irreps")
        with pytest.raises(NotImplementedError, match=r"maximum_offset=1 cannot be offered.*use "):
            layer(image, image, 3, maximum_offset=1)
        few = layer(image, image, 5, basis_filter=lambda element: element["frequency"] == 0)
        assert few.weights.numel() == 12 < layer(image, image, 5).weights.numel()
    turns = gspaces.Rot2dOnR2(-1, maximum_frequency=1)
    scalar = nn.FieldType(turns, [turns.trivial_repr])
    nn.R2Conv(scalar, scalar, 3, maximum_offset=1)  # e2cnn ignored it here, and so do we


def test_group_elements_as_numbers_are_refused_with_what_to_write():
    space = gspaces.FlipRot2dOnR2(4)
    field = nn.FieldType(space, [space.regular_repr])
    x = nn.GeometricTensor(torch.rand(1, 8, 5, 5), field)
    convolved = nn.R2Conv(field, field + field, 3)(x)
    for tensor in (x, convolved):
        for act in (tensor.transform, tensor.transform_fibers):
            with pytest.raises(NotImplementedError, match=r"use gspace.fibergroup.element\(\(1, 2"):
                act((1, 2))
    with pytest.raises(NotImplementedError, match=r"element\(1\)"):
        space.featurefield_action(x.tensor.numpy(), space.regular_repr, 1)
    element = space.fibergroup.element((1, 2))
    by_space = space.featurefield_action(x.tensor.numpy(), space.regular_repr, element)
    torch.testing.assert_close(x.transform(element).tensor, torch.tensor(by_space.copy()).float())


def test_lists_take_equivariant_modules_alone(rng):
    space = gspaces.Rot2dOnR2(4)
    field = nn.FieldType(space, [space.regular_repr])
    layers = nn.ModuleList([nn.ReLU(field)])
    layers.append(nn.ELU(field))
    layers.insert(0, nn.IdentityModule(field))
    layers.extend([nn.R2Conv(field, field, 3)])
    assert [type(layer) for layer in layers] == [nn.IdentityModule, nn.ReLU, nn.ELU, nn.R2Conv]
    for add in (layers.append, lambda m: layers.insert(0, m), lambda m: layers.extend([m])):
        with pytest.raises(TypeError, match="expected equivariant modules, got ReLU"):
            add(torch.nn.ReLU())
    with pytest.raises(TypeError, match="expected equivariant modules"):
        layers[0] = torch.nn.ReLU()
    assert len(layers) == 4
    x = torch.rand(1, 4, 6, 6, generator=rng)
    exported = layers.export()
    torch.testing.assert_close(exported[3](x), layers[3](nn.GeometricTensor(x, field)).tensor)


def test_first_weights_by_the_names_of_e2cnn():
    space = gspaces.Rot2dOnR2(4)
    field = nn.FieldType(space, 2 * [space.regular_repr])
    layer = nn.R2Conv(field, field, 3, initialize=False)
    nn.init.generalized_he_init(layer.weights, basisexpansion=layer.basisexpansion, cache=True)
    assert layer.weights.std() > 0.1
    nn.init.deltaorthonormal_init(layer.weights, layer.basisexpansion)
    centre = layer.expand_parameters()[0][..., 1, 1]
    off_centre = layer.expand_parameters()[0].square().sum() - centre.square().sum()
    assert off_centre < 1e-6 < centre.square().sum()


def test_the_real_e2cnn_imported_before_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "e2cnn", types.ModuleType("e2cnn"))
    with pytest.raises(RuntimeError, match="expected to come before any import of e2cnn"):
        install()


SCRIPT = """
import e2cnn
from e2cnn import gspaces
from e2cnn import nn
import e2cnn.nn.init as init
from e2cnn.group import *
from e2cnn.nn import *
from e2cnn.nn.modules.equivariant_module import EquivariantModule
from e2cnn.gspaces.r2 import Rot2dOnR2
import torch

class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.r2_act = gspaces.Rot2dOnR2(N=4)
        self.input_type = nn.FieldType(self.r2_act, [self.r2_act.trivial_repr])
        out_type = nn.FieldType(self.r2_act, 3 * [self.r2_act.regular_repr])
        self.block1 = nn.SequentialModule(
            nn.MaskModule(self.input_type, 13, margin=1),
            nn.R2Conv(self.input_type, out_type, kernel_size=5, padding=2, bias=False),
            nn.InnerBatchNorm(out_type),
            nn.ReLU(out_type, inplace=True),
        )
        self.pool = nn.PointwiseAvgPoolAntialiased(out_type, sigma=0.66, stride=2)
        self.gpool = nn.GroupPooling(out_type)
        self.fully_net = torch.nn.Linear(self.gpool.out_type.size * 49, 10)

    def forward(self, input: torch.Tensor):
        x = nn.GeometricTensor(input, self.input_type)
        assert isinstance(x.type.gspace, gspaces.Rot2dOnR2)
        x = self.gpool(self.pool(self.block1(x))).tensor
        return self.fully_net(x.reshape(x.shape[0], -1))

model = Classifier()
for module in model.modules():
    if isinstance(module, nn.R2Conv):
        init.generalized_he_init(module.weights.data, module.basisexpansion)
assert model(torch.rand(2, 1, 13, 13)).shape == (2, 10)
x = nn.GeometricTensor(torch.rand(1, 1, 13, 13), model.input_type)
invariant = nn.SequentialModule(model.block1, model.gpool).eval()
for g in model.r2_act.testing_elements:
    turned = invariant(x.transform(g)).tensor
    assert torch.allclose(turned, invariant(x).transform(g).tensor, atol=1e-5)
assert isinstance(model.block1, EquivariantModule) and Rot2dOnR2 is gspaces.Rot2dOnR2
"""

INSTALLED = """
import importlib, json, sys, warnings
warnings.simplefilter("error")
import equicomir.e2cnn
equicomir.e2cnn.install()
equicomir.e2cnn.install()
assert sum(type(finder).__name__ == "_Refusal" for finder in sys.meta_path) == 1
exec(sys.argv[1])
assert e2cnn.nn.R2Conv is equicomir.e2cnn.nn.R2Conv and e2cnn.__version__ == "0.2.3"
outcome = {}
for path in json.loads(sys.argv[2]):
    try:
        importlib.import_module(path)
        outcome[path] = "imported"
    except (ImportError, NotImplementedError) as reason:
        outcome[path] = f"{type(reason).__name__}: {reason}"
try:
    from e2cnn import diffops
except NotImplementedError as reason:
    outcome["diffops"] = str(reason)
outcome["second copies"] = [m for m in sys.modules if m in ("e2cnn.checkpoints", "e2cnn.absent")]
print(json.dumps(outcome))
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_after_install_a_script_for_e2cnn_runs_unchanged():
    paths = [*ABOUT["paths"], "e2cnn.checkpoints", "e2cnn.nn.nothing"]
    done = run("-c", INSTALLED, SCRIPT, json.dumps(paths))
    assert (done.returncode, done.stderr) == (0, "")
    outcome = json.loads(done.stdout)
    assert outcome.pop("second copies") == []
    assert "use equicomir.e2cnn.nn.R2Conv" in outcome.pop("diffops")
    refused = {path: said for path, said in outcome.items() if said != "imported"}
    for path, said in refused.items():
        kind = (
            "NotImplementedError" if path.split(".")[1] in ("diffops", "kernels") else "ModuleNot"
        )
        assert said.startswith(kind), (path, said)
        assert "cannot be offered" in said
    within = {"diffops", "kernels"}
    assert {p for p in refused if p.split(".")[1] not in within} == {
        "e2cnn.__about__",
        "e2cnn.checkpoints",
        "e2cnn.gspaces.r2.utils",
        "e2cnn.nn.nothing",
        "e2cnn.nn.modules.r2_conv.basisexpansion",
        "e2cnn.nn.modules.r2_conv.basisexpansion_blocks",
        "e2cnn.nn.modules.r2_conv.basisexpansion_singleblock",
        "e2cnn.nn.modules.r2_conv.r2diffop",
        "e2cnn.nn.modules.utils",
    }


def test_the_import_says_nothing():
    done = run("-W", "error", "-c", "import equicomir.e2cnn")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_type_of_some_fields():
    space = gspaces.Rot2dOnR2(4)
    every = nn.FieldType(space, [space.trivial_repr, space.regular_repr, space.trivial_repr])
    some = every.index_select([1, 0])
    assert some == nn.FieldType(space, [space.regular_repr, space.trivial_repr])
    assert some != every.index_select([0, 1])
