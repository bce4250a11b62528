"""Settings from Python, a file and the command line are one and the same."""

import json
from dataclasses import asdict, fields, replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from equicomir.commands.options import parsed
from equicomir.commands.train import Train, told
from equicomir.images.augmentation import Augmentation
from equicomir.losses.weighted import Penalties
from equicomir.representations import EncoderSettings
from equicomir.training.settings import TrainingSettings
from equicomir.training.settings_file import read_settings, write_settings

#: For every setting, values that it may have, none of them its default.
OTHER = {
    "seed": [1, 7],
    "minutes": [0.5, 12.0],
    "steps": [3, 40],
    "patch_size": [32, 128],
    "batch": [4, 32],
    "scenes_at_once": [1, 2],
    "learning_rate": [1e-4, 0.02],
    "temperature": [0.1, 1.0],
    "turns": [1, 4],
    "high_pass_cutoff": [None, 0.2],
    "high_pass_family": ["butterworth", "ideal"],
    "unfiltered": [0.5, 1.0],
    "coarse_first": [0.5],
    "similarity": ["cosine", "gaussian"],
    "curves": [("log",), ("log", "optical_density")],
    "shift_pixels": [2],
    "penalties": [Penalties(gradient_agreement=0.1), Penalties(1.0, 2.0, 3.0, 4.0)],
    "augmentation": [Augmentation(mirror=True), Augmentation(scale=1.5, noise=0.1)],
    "schedule": ["cosine"],
    "warm_up": [5],
    "clip": [0.5, 1.0],
    "average": [0.9],
    "precision": ["bf16-mixed"],
    "validations": [3],
    "patience": [2],
    "workers": [1],
    "checkpoint_seconds": [1.0],
    "family": ["plain", "roto_translation"],
    "group": ["C4", "SO(2)"],
    "widths": [(1,), (3, 2, 1)],
    "kernel_size": [3, 7],
    "smooth": [True],
    "parity": ["odd"],
    "pooling": ["blur"],
    "residual": [True],
    "representation_channels": [2],
    "layers": [("gradient_field(1.5)",), ("laplacian()", "local_entropy()")],
}


#: What the command does where nobody says anything: a user's run is longer than an experiment's.
STANDARD = {TrainingSettings: TrainingSettings(minutes=10.0), EncoderSettings: EncoderSettings()}


#: What changes something only beside another setting, which is then so.
BESIDE = {
    "warm_up": {"schedule": "cosine"},
    "patience": {"validations": 3},
    "unfiltered": {"high_pass_cutoff": 0.2},
    "coarse_first": {"high_pass_cutoff": 0.2},
}


@st.composite
def settings(draw, kind):
    """Settings of which some are not as by default."""
    names = [f.name for f in fields(kind) if f.name in OTHER]
    changed = draw(st.lists(st.sampled_from(names), unique=True, max_size=6))
    values = {name: draw(st.sampled_from(OTHER[name])) for name in changed}
    return replace(STANDARD[kind], **{**values, **beside(changed)})


def beside(changed):
    """What the changed settings need."""
    needed = [BESIDE.get(name, {}) for name in changed]
    return {name: value for one in needed for name, value in one.items()}


def words(values):
    """Settings as a person types them: those that are not as by default."""
    typed = []
    standard = STANDARD.get(type(values), type(values)())
    for f in fields(values):
        value = getattr(values, f.name)
        if value == getattr(standard, f.name):
            continue
        if isinstance(value, Augmentation | Penalties):
            typed += [word.replace("--", f"--{f.name}.", 1) for word in words(value)]
            continue
        flag = f"--{f.name.replace('_', '-')}"
        listed = value if isinstance(value, tuple) else (value,)
        typed += [flag] if value is True else [flag, *map(str, listed)]
    return typed


def typed(*more):
    return told([*more, "--images", "A", "B", "--out", "m"])


def test_every_setting_can_be_drawn():
    """A setting that is new must be among those tried here."""
    known = {f.name for kind in (TrainingSettings, EncoderSettings) for f in fields(kind)}
    assert known == OTHER.keys()


@given(settings(TrainingSettings), settings(EncoderSettings))
def test_a_file_gives_back_what_was_written(tmp_path_factory, training, encoders):
    path = tmp_path_factory.mktemp("s") / "s.json"
    write_settings(path, training, encoders)
    assert read_settings(path) == (training, encoders)


@given(settings(TrainingSettings), settings(EncoderSettings))
def test_every_setting_can_be_typed(training, encoders):
    options = typed(*words(training), *words(encoders))
    assert (options.training, options.encoders) == (training, encoders)


@pytest.mark.parametrize("name", OTHER)
def test_each_setting_is_heard_alone(name):
    kind = TrainingSettings if hasattr(TrainingSettings, name) else EncoderSettings
    for value in OTHER[name]:
        wanted = replace(STANDARD[kind], **{name: value}, **beside([name]))
        options = typed(*words(wanted))
        assert wanted in (options.training, options.encoders)
        assert wanted != STANDARD[kind]


@given(settings(TrainingSettings), settings(EncoderSettings), st.data())
def test_the_command_line_goes_before_the_file(tmp_path_factory, training, encoders, data):
    path = tmp_path_factory.mktemp("s") / "s.json"
    write_settings(path, training := replace(training, augmentation=None), encoders)
    name = data.draw(st.sampled_from(["seed", "steps", "curves", "clip", "warm_up", "schedule"]))
    said = {name: data.draw(st.sampled_from(OTHER[name])), **beside([name])}
    only = words(replace(STANDARD[TrainingSettings], **said))
    options = typed("--settings", str(path), *only)
    assert options.training == replace(training, **said)
    assert options.encoders == encoders


def test_a_file_that_is_not_heard_would_be_seen(tmp_path):
    """The control of the property above: without the file, the settings are others."""
    write_settings(tmp_path / "s.json", TrainingSettings(batch=32), EncoderSettings())
    assert typed(f"--settings={tmp_path / 's.json'}").training.batch == 32
    assert typed().training.batch != 32


def test_an_augmentation_of_the_file_can_be_changed_and_taken_away(tmp_path):
    path = tmp_path / "s.json"
    augmentation = Augmentation(mirror=True, noise=0.1)
    write_settings(path, TrainingSettings(augmentation=augmentation), EncoderSettings())
    kept = typed("--settings", str(path), "--augmentation.noise", "0.3").training.augmentation
    assert kept == replace(augmentation, noise=0.3)
    none = ["--augmentation.no-mirror", "--augmentation.noise", "0"]
    assert typed("--settings", str(path), *none).training.augmentation is None


def test_minutes_are_heard_where_the_file_has_the_steps_of_a_model(tmp_path):
    path = tmp_path / "settings.json"
    model = {"scalings": {}, "losses": [1.0], "training": asdict(TrainingSettings(steps=900))}
    path.write_text(json.dumps({**model, "encoders": asdict(EncoderSettings(group="D4"))}))
    assert typed("--settings", str(path)).training.steps == 900
    assert typed("--settings", str(path)).encoders.group == "D4"
    later = typed("--settings", str(path), "--minutes", "2").training
    assert (later.steps, later.minutes) == (None, 2.0)


def test_defaults_are_those_of_the_dataclasses_but_for_the_minutes():
    options = parsed(Train, ["--out", "m"], prog="equicomir train")
    assert [options.training, options.encoders] == list(STANDARD.values())
    assert STANDARD[TrainingSettings] == replace(TrainingSettings(), minutes=10.0)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "Expecting"),
        ("[]", "list in place of names and values"),
        ('{"train": {}}', "'train', which is none of its parts training, encoders"),
        ('{"training": {"bach": 3}}', "expected settings of seed, minutes"),
        ('{"training": {"batch": "12"}}', "batch: expected a whole number, got '12'"),
        ('{"training": {"batch": 12.5}}', "batch: expected a whole number, got 12.5"),
        ('{"training": {"batch": true}}', "batch: expected a whole number, got True"),
        ('{"training": {"clip": "no"}}', "clip: expected a number, got 'no'"),
        ('{"training": {"curves": "log"}}', "curves: expected a list, got 'log'"),
        ('{"training": {"curves": ["lin"]}}', "curves: expected one of 'linear', 'log'"),
        ('{"training": {"batch": 1}}', "batch: expected at least 2 pairs"),
        ('{"training": {"augmentation": 3}}', "augmentation: expected names and values, got 3"),
        ('{"training": {"augmentation": {"scale": 9}}}', "scale: expected 1 to 4, got 9"),
        ('{"encoders": {"smooth": 1}}', "smooth: expected true or false, got 1"),
        ('{"encoders": {"widths": [2, "4"]}}', "widths: expected a whole number, got '4'"),
        ('{"encoders": null}', "encoders: expected names and values, got None"),
        ('{"encoders": {}, "encoders": {}}', "'encoders' twice"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, content, part):
    path = tmp_path / "wröng.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="expected settings as JSON, got: ") as caught:
        read_settings(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
