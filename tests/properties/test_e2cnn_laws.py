import pytest
import torch
from fixtures.e2cnn.networks import NETWORKS
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds

from equicomir.e2cnn import gspaces, load_e2cnn_state_dict, nn
from equicomir.e2cnn.checkpoints import combination

EXACT = 1e-5
SPACES = st.sampled_from(
    [
        gspaces.Rot2dOnR2(4),
        gspaces.Rot2dOnR2(8),
        gspaces.FlipRot2dOnR2(4),
        gspaces.FlipRot2dOnR2(3),
        gspaces.Flip2dOnR2(),
    ]
)


def layers(space, size, generator):
    """(a layer of mixed fields, one of the same kind with other weights)."""
    fields = [space.regular_repr, space.trivial_repr, space.regular_repr]
    image, mixed = space.type(space.trivial_repr), space.type(*fields)
    in_type = mixed if size == 3 else image
    both = [nn.R2Conv(in_type, mixed, size, initialize=False) for _ in range(2)]
    for layer in both:
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return both


def rebased(layer, generator):
    """The layer's state dict in another basis of the same kernels: mixed, signs and order."""
    state = {key: value.clone() for key, value in layer.state_dict().items()}
    expand = layer.basisexpansion
    for pair in expand._representations_pairs:
        key = f"_basisexpansion.block_expansion_{expand._escape_pair(pair)}.sampled_basis"
        basis, (first, last) = state[key], expand._weights_ranges[pair]
        mixing, _ = torch.linalg.qr(torch.randn(len(basis), len(basis), generator=generator))
        state[key] = torch.einsum("ab,b...->a...", mixing, basis)
        weights = state["weights"][first:last].reshape(-1, len(basis))
        state["weights"][first:last] = (weights @ mixing.T).flatten()
    return state


def kernel(layer):
    with torch.no_grad():
        return layer.expand_parameters()[0]


def error(ours, theirs):
    return float((ours - theirs).norm() / theirs.norm())


@given(SPACES, st.sampled_from([1, 3, 5]), seeds())
def test_the_kernel_survives_any_change_of_basis(space, size, generator):
    written, read = layers(space, size, generator)
    state = rebased(written, generator)
    load_e2cnn_state_dict(read, state)
    assert error(kernel(read), kernel(written)) < EXACT
    # A planted fault: the weights as they are, as load_state_dict would take them.
    with torch.no_grad():
        read.weights.copy_(state["weights"])
    assert size == 1 or error(kernel(read), kernel(written)) > 0.1


@given(SPACES, st.sampled_from([3, 5]), seeds())
def test_a_kernel_outside_the_span_is_refused_and_nothing_is_written(space, size, generator):
    written, read = layers(space, size, generator)
    state = rebased(written, generator)
    key = next(key for key in state if key.endswith("sampled_basis"))
    state[key] += 1e-2 * torch.randn(state[key].shape, generator=generator)
    before = read.weights.clone()
    with pytest.raises(ValueError, match="relative residual of"):
        load_e2cnn_state_dict(read, state)
    assert torch.equal(read.weights, before)


@given(st.integers(1, 6), st.integers(6, 20), seeds())
def test_combinations_are_found_and_what_is_missed_is_measured(elements, values, generator):
    basis = torch.randn(elements, values, generator=generator, dtype=torch.float64)
    known = torch.randn(3, elements, generator=generator, dtype=torch.float64)
    found, residual = combination(basis, known @ basis)
    assert residual < 1e-9
    torch.testing.assert_close(found @ basis, known @ basis, rtol=1e-6, atol=1e-9)
    outside = torch.randn(3, values, generator=generator, dtype=torch.float64)
    outside -= outside @ torch.linalg.pinv(basis) @ basis
    target = known @ basis + outside
    _, residual = combination(basis, target)
    assert residual == pytest.approx(float(outside.norm() / target.norm()), rel=1e-6, abs=1e-9)


@given(st.sampled_from(["c4_lifting", "d4_regular", "restricted", "c4_grouped"]), seeds())
def test_networks_of_the_names_turn_with_their_input(name, generator):
    network, channels, _ = NETWORKS[name](gspaces, nn)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    side = 9  # odd all the way: strides of two keep the centre
    image = torch.randn(1, channels, side, side, generator=generator)
    x = nn.GeometricTensor(image, network.in_type)
    quarter = {4: 1, 8: (0, 1)}[x.type.fibergroup.order()]
    element = x.type.fibergroup.element(quarter)
    stages = list(network.eval().children())[: 3 if name == "c4_grouped" else None]

    def through(tensor):
        with torch.no_grad():
            for stage in stages:
                tensor = stage(tensor)
        return tensor

    out = through(x)
    after = next(e for e in out.type.testing_elements if is_quarter_turn(out.type.gspace, e))
    turned = nn.GeometricTensor(torch.rot90(image, 1, (2, 3)), x.type)
    torch.testing.assert_close(x.transform(element).tensor, turned.tensor, rtol=0, atol=1e-5)
    expected = out.transform(after).tensor
    assert error(through(turned).tensor, expected) < EXACT
    # A planted fault: one corner of the last kernels that are no single pixel.
    with torch.no_grad():
        wide = [m for m in stages if isinstance(m, nn.R2Conv) and m.kernel_size > 1]
        wide[-1].filter[..., 0, 0] += wide[-1].filter.abs().max()
    assert error(through(turned).tensor, through(x).transform(after).tensor) > 1e-3


def is_quarter_turn(space, element):
    return abs(space.basespace_action(element) - [[0, -1], [1, 0]]).max() < 1e-6
