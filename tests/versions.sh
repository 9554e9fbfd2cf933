#!/usr/bin/env bash
# Install lsp and run a quick part of its tests under every Python from 3.11 to 3.13 that is found on the path or under
# pyenv, each in an environment of its own (.venv-3.11, ...; about 1.3 GB). Versions may be named: tests/versions.sh 3.13
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

supported=(3.11 3.12 3.13)
# Formulas, configuration, an agent's update, a replay, an environment; whole runs are left to make test.
quick=(tests/config tests/test_cli.py tests/test_packing.py tests/test_losses.py tests/test_hierarchy.py
    tests/test_numpy_policy.py tests/test_imports.py tests/agents/test_sac_lsp.py tests/replay/test_sum_tree.py
    tests/envs/test_rllab_ant.py tests/storage/test_checkpoint.py)

interpreter() { # of a version, if it starts: pyenv's shims are on the path for versions that are not chosen
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

tested=()
for version in "${@:-${supported[@]}}"; do
    if ! python=$(interpreter "$version"); then
        echo "== Python $version is not here"
        continue
    fi
    echo "== $("$python" --version), $python"
    environment=.venv-$version
    "$python" -m venv "$environment"
    "$environment/bin/python" -m pip --disable-pip-version-check install --quiet --editable '.[test]'
    "$environment/bin/python" -m pytest -q -m "not slow and not audit" "${quick[@]}"
    tested+=("$version")
done
if [[ ${#tested[@]} == 0 ]]; then
    echo "no Python of ${*:-${supported[*]}} was found" >&2
    exit 1
fi
echo "== passed under ${tested[*]}"
