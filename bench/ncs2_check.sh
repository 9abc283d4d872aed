#!/usr/bin/env bash
# Does OpenVINO 2022.3, the last release with the plugin of the Neural Compute Stick 2, read our export, and give its matte?
#
#     bench/ncs2_check.sh [CHECKPOINT] [FOLDER]
#
# Exports the checkpoint with --target ncs2, makes an environment of Python 3.10 with openvino==2022.3.* in FOLDER, loads the
# ONNX file there on the CPU, writes it as that release's IR, loads that too, and compares both mattes of data/img.jpg with the
# network by onnxruntime of today: exit status 1 if they differ by more than 0.01 anywhere. The stick itself is not needed and
# not tried. PYTHON runs this repository, PYTHON310 is any Python 3.7 to 3.10.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
ckpt=${1:-$root/pretrained/our_modnet.ckpt}
folder=${2:-$root/result/ncs2}
python=${PYTHON:-python}
fits() { "$1" -c 'import sys; sys.exit(not (3, 7) <= sys.version_info[:2] <= (3, 10))' 2>/dev/null; }
python310=${PYTHON310:-python3.10}
fits "$python310" || python310=~/.pyenv/versions/3.10.13/bin/python
[ -f "$ckpt" ] || { echo "error: no checkpoint at $ckpt" >&2; exit 2; }
fits "$python310" || { echo "error: PYTHON310 is ${PYTHON310:-not set}, needed is a Python 3.7 to 3.10" >&2; exit 2; }
mkdir -p "$folder"

"$python" "$root/onnx/export_onnx.py" --ckpt-path "$ckpt" --target ncs2 --output-path "$folder/ncs2.onnx"
PYTHONPATH=$root "$python" - "$root/data/img.jpg" "$folder" <<'PY'
import sys
from pathlib import Path

import numpy as np
import onnxruntime

from src.media.picture_reader import read_image
from src.media.preprocess import to_fixed_input

folder = Path(sys.argv[2])
image, _ = to_fixed_input(read_image(Path(sys.argv[1])), 512, 512)
matte, = onnxruntime.InferenceSession(str(folder / "ncs2.onnx")).run(None, {"input": image})
np.savez(folder / "expected.npz", image=image, matte=matte)
PY

if [ ! -x "$folder/venv/bin/python" ]; then
    "$python310" -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet "openvino==2022.3.*" "numpy<2"
fi
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import numpy as np
from openvino.runtime import Core, get_version
from openvino.runtime.passes import Manager

folder = Path(sys.argv[1])
saved, core = np.load(folder / "expected.npz"), Core()
model = core.read_model(str(folder / "ncs2.onnx"))
passes = Manager()
passes.register_pass("Serialize", xml_path=str(folder / "ncs2.xml"), bin_path=str(folder / "ncs2.bin"))
passes.run_passes(model)
print("OpenVINO", get_version(), "operators:", ", ".join(sorted({op.get_type_name() for op in model.get_ops()})))
worst = 0.0
for name in ("ncs2.onnx", "ncs2.xml"):
    network = core.compile_model(core.read_model(str(folder / name)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    matte = network([saved["image"]])[network.output(0)]
    off = float(np.abs(matte - saved["matte"]).max())
    worst = max(worst, off)
    print(f"{name}: {matte.shape}, max difference from the network {off:.2e} (alpha is {matte.min():.3f} to {matte.max():.3f})")
sys.exit(worst > 0.01)
PY
