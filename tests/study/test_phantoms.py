"""Women prepared for studies: every kind of phantom in a folder of its own."""

import numpy as np

from mammo_utils.study import phantoms
from mammo_utils.synth import breast


def test_every_kind_of_women_has_its_own_folder_and_the_default_keeps_its_name(monkeypatch, tmp_path):
    monkeypatch.setenv("MAMMO_CACHE", str(tmp_path))
    asked = {"size": 48, "count": 2}
    folder = tmp_path / f"phantom_{breast.VERSION}"

    def kinds():
        return {path.name for path in folder.iterdir()}

    default = phantoms.women("develop", **asked)
    assert kinds() == {"develop_2_48"}
    phantoms.women("develop", likeness=breast.LIKENESS, vendors="woman", **asked)
    assert kinds() == {"develop_2_48"}
    alike = phantoms.women("develop", likeness=1, **asked)
    styled = phantoms.women("develop", vendors="view", **asked)
    both = phantoms.women("develop", likeness=1.0, vendors="view", **asked)
    names = ["", "_likeness_1.0", "_vendors_view", "_likeness_1.0_vendors_view"]
    assert kinds() == {f"develop_2_48{name}" for name in names}

    truth = [images.table["percent_density"].to_numpy() for images in (default, styled, alike, both)]
    assert (truth[0] == truth[1]).all()
    assert (truth[2] == truth[3]).all()
    assert (truth[0] != truth[2]).all()
    machines = [images.table["machine"].to_numpy(str) for images in (default, alike, styled, both)]
    assert (machines[0] == machines[1]).all()
    assert (machines[2] == machines[3]).all()
    same = machines[0] == machines[2]
    assert 0 < same.sum() < len(same)
    changed = (np.asarray(default.images[:]) != np.asarray(styled.images[:])).any((1, 2))
    assert (changed == ~same).all()
