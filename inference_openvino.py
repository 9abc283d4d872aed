"""Mattes of a picture, a folder, a video or a webcam by OpenVINO, on a CPU:

    python inference_openvino.py --image-path data/img.jpg
    python inference_openvino.py --image-path 'holiday/*.jpg' --save sheet --background blur
    python inference_openvino.py --image-path talk.mp4 --save composite --background beach.jpg --temporal ofd
    python inference_openvino.py --mode webcam --camera 0 --show

The first writes `result/img_alpha.png`, `_cutout.png` and `_composite.png` at the size of the picture and prints the
milliseconds of preprocess, infer and postprocess (files not counted; the first picture of a size also pays for OpenVINO's
set-up). A video becomes `<stem>_alpha.mp4` and `_composite.mp4` of the same frames, time stamps and sound, with `--save
cutout` a ProRes 4444 .mov or VP9 .webm with alpha, and `<stem>_times.json` says what each stage took. A webcam runs until
Ctrl-C. A model of fixed size sees the whole picture, aspect ratio kept, mid-grey round it.

Exit status: 0; 1 if some of several pictures failed or a video was read in part; 2 if nothing could be done. From Python:

    from inference_openvino import Matting
    alpha = Matting().alpha(image)      # (H, W, 3) uint8 RGB to (H, W) float32 in [0, 1]
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from src.files import write_json
from src.media.backdrop import Backdrop, parse_backdrop
from src.media.compositing import STILL_KINDS, VIDEO_KINDS, render, save_results
from src.media.preprocess import read_image
from src.media.video_reader import VIDEO_SUFFIXES, VideoReader
from src.media.video_results import TEMPORAL, Look
from src.media.video_writer import ALPHA_ENCODINGS
from src.media.webcam import WebcamReader
from src.media.window import check_window, show
from src.runtime.matting import Matting
from src.runtime.pictures import add_output_options, run_pictures, written
from src.runtime.video import matte_video
from src.script import provenance, run_script


def say(milliseconds: dict[str, float]) -> str:
    """`preprocess 1.2 ms, infer 3.4 ms, ...`."""
    return ", ".join(f"{name} {value:.1f} ms" for name, value in milliseconds.items())


def infer_pictures(matting: Matting, path: Path, *, output_dir: Path, backdrop: Backdrop, save: Sequence[str] = STILL_KINDS,
                   foreground: str = "fast", window: bool = False) -> int:
    """Writes the results of a picture, or of those in a folder or pattern, and says so; the exit status, 1 if any failed.

    Raises `FileNotFoundError` or `ValueError` if there is nothing to do, or if the only picture cannot be read.
    """
    def work(picture: Path) -> str:
        image = read_image(picture)
        alpha = matting.alpha(image)
        said = say(matting.milliseconds)
        paths = save_results(image, alpha, picture.stem, output_dir, save=save, backdrop=backdrop, foreground=foreground)
        if window:
            show(render(image, alpha, ["composite"], backdrop=backdrop, foreground=foreground)["composite"], 0)
        return f"{picture}: {said} -> {written(paths)}"

    return run_pictures(path, work, output_dir=output_dir, save=save)


def infer_video(matting: Matting, reader: VideoReader | WebcamReader, look: Look, *, output_dir: Path,
                window: bool = False) -> int:
    """Writes the videos and `<stem>_times.json` and says so; the exit status, 1 if the video was read in part.

    Raises `ValueError` or `OSError` if nothing could be written.
    """
    done = matte_video(reader, matting, look, output_dir=output_dir,
                       show=(lambda picture: show(picture, 1)) if window else None)
    fps = done.frames / done.seconds
    write_json(output_dir / f"{Path(reader.path).stem}_times.json", {
        "input": reader.path, "model": str(matting.path), "frames": done.frames, "seconds": done.seconds, "fps": fps,
        "stage_ms": done.stage_ms, "width": reader.info.width, "height": reader.info.height, "outputs": written(done.paths),
        "problems": done.problems, **provenance()})
    print(f"{reader.path}: {done.frames} frames, {fps:.1f} fps end to end, a frame: {say(done.stage_ms)} -> "
          f"{written(done.paths)}")
    for remark in done.remarks:
        print(f"note: {remark}", file=sys.stderr)
    if done.problems:
        print(f"error: {reader.path}: read in part, {'; '.join(done.problems)}", file=sys.stderr)
    return 1 if done.problems else 0


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-path", type=Path,
                        help="IR that convert_openvino.py wrote (default: pretrained/pruned_modnet_int8.xml, or _fp16)")
    parser.add_argument("--image-path", default="data/img.jpg",
                        help="picture, folder, quoted pattern ('a/*.jpg'), or video (default: %(default)s)")
    parser.add_argument("--device", default="CPU", help="CPU, GPU, AUTO, ... (default: %(default)s)")
    parser.add_argument("--mode", choices=("image", "video", "webcam"),
                        help="what --image-path is (default: a video if its name ends like one)")
    parser.add_argument("--camera", type=int, help="number of the webcam, means --mode webcam (default: 0)")
    add_output_options(parser)
    parser.set_defaults(save=None)
    parser.add_argument("--alpha-video", choices=(*ALPHA_ENCODINGS, "none"), default="prores",
                        help="a video's cutout: ProRes 4444 .mov, VP9 .webm, both straight alpha (default: %(default)s)")
    parser.add_argument("--temporal", choices=TEMPORAL, default="none",
                        help="ofd: takes single-frame flicker out of a video's mattes (default: %(default)s)")
    parser.add_argument("--hint", choices=("latency", "throughput"),
                        help="what OpenVINO aims at (default: latency, for a video file throughput)")
    parser.add_argument("--cache-dir", type=Path, help="keep the compiled network here (default: compile at each start)")
    parser.add_argument("--fast", action="store_true",
                        help="let the device compute in bf16 or fp16, quicker and less exact (default: float32)")
    parser.add_argument("--show", action="store_true", help="also show each composite in a window; q or Esc ends")
    return parser.parse_args(argv)


def mode_of(mode: str | None, path: str, camera: int | None) -> str:
    """`image`, `video` or `webcam`: as said, else by the name of the input."""
    if camera is not None or mode == "webcam" or mode == "video" and path.isdecimal() and not Path(path).exists():
        return "webcam"
    return mode or ("video" if Path(path).suffix.lower() in VIDEO_SUFFIXES else "image")


def video_kinds(save: Sequence[str] | None, alpha_video: str) -> Sequence[str]:
    """What is written of a video. Raises `ValueError` if that is nothing."""
    kinds = [kind for kind in save or VIDEO_KINDS if kind != "cutout" or alpha_video != "none"]
    if not kinds:
        raise ValueError("--save cutout with --alpha-video none writes nothing: prores and vp9 keep the alpha")
    return tuple(dict.fromkeys(kinds))


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    mode = mode_of(args.mode, args.image_path, args.camera)
    backdrop = parse_backdrop(args.background)
    if args.show:
        check_window()
    hint = args.hint or ("throughput" if mode == "video" else "latency")
    matting = Matting(args.model_path, args.device, exact=not args.fast, hint=hint, cache_dir=args.cache_dir)
    if mode == "image":
        return infer_pictures(matting, Path(args.image_path), output_dir=args.output_dir, backdrop=backdrop,
                              save=args.save or STILL_KINDS, foreground=args.foreground, window=args.show)
    look = Look(video_kinds(args.save, args.alpha_video), backdrop, args.foreground, args.alpha_video, args.temporal)
    camera = args.camera if args.camera is not None else int(args.image_path) if args.image_path.isdecimal() else 0
    reader = VideoReader(args.image_path) if mode == "video" else WebcamReader(camera)
    try:
        return infer_video(matting, reader, look, output_dir=args.output_dir, window=args.show)
    finally:
        reader.close()


if __name__ == "__main__":
    sys.exit(run_script(main))
