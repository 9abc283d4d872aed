"""Cut people out of a picture, a folder, a video or a webcam by OpenVINO, on a CPU:

    python inference_openvino.py --image-path data/img.jpg
    python inference_openvino.py --image-path 'holiday/*.jpg' --save sheet --background blur
    python inference_openvino.py --image-path holiday --model fast --ref-size 384
    python inference_openvino.py --image-path talk.mp4 --save composite --background beach.jpg --temporal ofd
    python inference_openvino.py --mode webcam --camera 0 --show
    curl -s https://example.org/me.jpg | python inference_openvino.py --image-path - --output - > me_cutout.png
    python inference_openvino.py --image-path inbox --watch

The first writes `result/img_alpha.png`, `_cutout.png` and `_composite.png` at the size of the picture and prints the
milliseconds of preprocess, infer and postprocess (files not counted; the first picture of a size also pays for OpenVINO's
set-up). A video becomes `<stem>_alpha.mp4` and `_composite.mp4` of the same frames, time stamps and sound, with `--save
cutout` a ProRes 4444 .mov or VP9 .webm with alpha, and `<stem>_times.json` says what each stage took. A webcam runs until
Ctrl-C. A model of fixed size sees the whole picture, aspect ratio kept, mid-grey round it.

Exit status: 0; 1 if one of several pictures failed, or all, or a video was read in part; 2 if nothing was done. From Python:

    from inference_openvino import Matting
    alpha = Matting().alpha(image)      # (H, W, 3) uint8 RGB to (H, W) float32 in [0, 1]
"""
from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from src.command_line import Parser
from src.console import complain, say
from src.files import check_writable
from src.media.backdrop import parse_backdrop
from src.media.compositing import STILL_KINDS, render
from src.media.picture_decoder import limit_pixels
from src.media.picture_reader import read_picture
from src.media.picture_results import PictureLook, save_results
from src.media.video_reader import VIDEO_SUFFIXES, VideoReader
from src.media.video_results import TEMPORAL, Look, video_kinds
from src.media.video_writer import ALPHA_ENCODINGS
from src.media.webcam import WebcamReader
from src.media.window import check_window, show
from src.runtime.actor import work_of
from src.runtime.cluster import run_on_cluster
from src.runtime.inputs import Inputs, find_inputs, is_video, webcam_of
from src.runtime.matting import Matting
from src.runtime.options import add_network_options, network_settings
from src.runtime.pictures import (
    Job,
    add_output_options,
    check_png_compression,
    check_quality,
    in_milliseconds,
    named_files,
    plan,
    run_pictures,
    without_done,
    written,
)
from src.runtime.pipes import add_pipe_options, check_pipe, pipe_picture, watch_pictures
from src.runtime.places import read_list
from src.runtime.pool import networks_at_once, usable_cores
from src.runtime.video import matte_video, plan_videos, report_video, videos_left
from src.script import run_script
from src.urls import is_url, url_of

EXAMPLE = ["data/img.jpg"]


def cut_out(matting: Matting, look: PictureLook, *, window: bool = False) -> Callable[[Job], str]:
    """Return what is done with a picture: its results are written, and a line says so."""
    def work(job: Job) -> str:
        picture = read_picture(job.picture)
        alpha = matting.alpha(picture.over())
        said = in_milliseconds(matting.milliseconds)
        paths = save_results(picture, alpha, job.results, look)
        if window:
            show(render(picture.image, alpha, ["composite"], backdrop=look.backdrop, foreground=look.foreground,
                        opacity=picture.opacity)["composite"], 0)
        return f"{job.picture}: {said} -> {written(paths)}"

    return work


def infer_video(matting: Matting, reader: VideoReader | WebcamReader, look: Look, *, output_dir: Path,
                window: bool = False) -> int:
    """Write the videos and `<stem>_times.json` and say so; return the exit status, 1 if the video was read in part.

    Raises `ValueError` or `OSError` if nothing could be written.
    """
    done = matte_video(reader, matting, look, output_dir=output_dir,
                       show=(lambda picture: show(picture, 1)) if window else None)
    say(report_video(done, reader, matting, output_dir))
    for remark in done.remarks:
        complain(f"note: {remark}")
    if done.problems:
        complain(f"error: {reader.path}: read in part, {'; '.join(done.problems)}")
    return 1 if done.problems else 0


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add_network_options(parser)
    parser.add_argument("--image-path", nargs="+", default=EXAMPLE, metavar="PATH",
                        help="pictures, videos, folders, quoted patterns ('a/*.jpg') of both, or - for one picture "
                        "from stdin (default: data/img.jpg)")
    parser.add_argument("--mode", choices=("image", "video", "webcam"),
                        help="what --image-path is (default: a video if its name ends like one)")
    parser.add_argument("--camera", type=int, help="number of the webcam, means --mode webcam (default: 0)")
    add_output_options(parser, of_video=", of a video alpha composite")
    add_pipe_options(parser)
    parser.set_defaults(save=None)
    parser.add_argument("--alpha-video", choices=(*ALPHA_ENCODINGS, "none"), default="prores",
                        help="a video's cutout: ProRes 4444 .mov, VP9 .webm, both straight alpha (default: %(default)s)")
    parser.add_argument("--temporal", choices=TEMPORAL, default="none",
                        help="ofd: takes single-frame flicker out of a video's mattes (default: %(default)s)")
    parser.add_argument("--hint", choices=("latency", "throughput"),
                        help="what OpenVINO aims at (default: latency, for a video file throughput)")
    parser.add_argument("--threads", type=int, metavar="N", help="cores of a CPU for one picture (default: all for a "
                        "picture or video; of several pictures, and with --ray, 1, and as many at once as fit)")
    parser.add_argument("--list", type=Path, metavar="FILE", help="take the files named in this text instead, a path a "
                        "line, with --ray also URLs (s3://, gs://, ...)")
    parser.add_argument("--ray", nargs="?", const="", metavar="ADDRESS", help="work on the machines of the Ray cluster at "
                        "HOST:PORT, or auto; without an address on all cores of this machine (requirements-cluster.txt)")
    parser.add_argument("--show", action="store_true", help="also show each composite in a window; q or Esc ends")
    args = parser.parse_args(argv)
    if args.threads is not None and not 1 <= args.threads <= 1024:
        parser.error(f"--threads is {args.threads}, allowed are whole numbers from 1 to 1024")
    if args.threads is not None and args.device != "CPU":
        parser.error(f"--threads goes with --device CPU, not with {args.device}, which chooses them itself")
    return args


def infer_videos(matting: Matting, inputs: Inputs, look: Look, *, output_dir: Path, skip_existing: bool = False,
                 window: bool = False, kept: Sequence[Path] = ()) -> int:
    """Write the results of videos, one after the other; the exit status, 1 if one of several failed.

    Raises `ValueError` as `plan_videos` does, and `ValueError` or `OSError` if a video that is alone cannot be read or
    written.
    """
    status, planned = 0, plan_videos(inputs.files, look, output_dir=output_dir, kept=kept)
    for path, folder in (videos_left(planned, look) if skip_existing else planned).items():
        try:
            with contextlib.closing(VideoReader(str(path))) as reader:
                status = max(status, infer_video(matting, reader, look, output_dir=folder, window=window))
        except (ValueError, OSError) as error:
            if inputs.alone:
                raise
            complain(f"error: {error}")
            status = 1
    return status


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    limit_pixels(args.max_pixels)
    if args.output is None and (args.ray is None or not is_url(args.output_dir)):
        check_writable(args.output_dir, "--output-dir")
    network, backdrop, hint = network_settings(args), parse_backdrop(args.background), args.hint or "latency"
    if args.show:
        check_window()
    pictures = PictureLook(args.save or (["cutout"] if args.output else STILL_KINDS), backdrop, args.foreground, args.format,
                           check_quality(args.format, args.quality), check_png_compression(args.png_compression))
    load, kept = functools.partial(Matting, **network, threads=args.threads), named_files(args.background, args.list)
    if args.watch or args.output or "-" in args.image_path:
        given = {"--show": args.show, "--list": args.list, "--ray": args.ray is not None,
                 "--mode": args.mode not in (None, "image"), "--camera": args.camera is not None,
                 "--skip-existing": args.skip_existing and not args.watch}
        check_pipe(args.image_path, output=args.output, watch=args.watch, save=args.save,
                   others=[option for option, there in given.items() if there])
        source, matting = args.image_path[0], load(hint=hint)
        if args.watch:
            return watch_pictures(Path(source), cut_out(matting, pictures), pictures, kept=kept, output_dir=args.output_dir,
                                  skip_existing=args.skip_existing, at_once=usable_cores())
        return pipe_picture(matting, source, pictures, output_dir=args.output_dir, to_stdout=bool(args.output), kept=kept)
    named = [] if args.image_path is EXAMPLE else args.image_path
    camera, still, moving = webcam_of(args.mode, named, args.camera, args.list, args.skip_existing), [], []
    if camera is None:
        also = frozenset(() if args.mode == "image" else VIDEO_SUFFIXES)
        inputs = find_inputs([Path(path) for path in args.image_path], also=also) if args.list is None \
            else Inputs(read_list(args.list), alone=False)
        if args.ray is None and (url := next(filter(is_url, inputs.files), None)) is not None:
            raise ValueError(f"--list {args.list} names {url_of(url)}: URLs go with --ray")
        for path in inputs.files:
            (moving if is_video(path, args.mode) else still).append(path)
    if moving or camera is not None or args.ray is not None:
        videos = Look(video_kinds(args.save, args.alpha_video), backdrop, args.foreground, args.alpha_video, args.temporal)
    if args.ray is not None:
        if camera is not None or args.show:
            raise ValueError("--ray works on files: leave --show and the webcam out")
        work = work_of({**network, "threads": args.threads or 1}, pictures, videos, background=args.background,
                       output_dir=args.output_dir, max_pixels=args.max_pixels)
        jobs = plan(still, pictures, output_dir=args.output_dir, kept=[*kept, *moving])
        planned = plan_videos(moving, videos, output_dir=args.output_dir, kept=[*kept, *still] if moving else kept)
        if args.skip_existing:
            jobs, planned = without_done(jobs), videos_left(planned, videos)
        return run_on_cluster(jobs, planned, work, address=args.ray, threads=args.threads or 1)
    output = {"output_dir": args.output_dir, "skip_existing": args.skip_existing, "kept": [*kept, *still, *moving]}
    if camera is not None:
        with contextlib.closing(WebcamReader(camera)) as reader:
            return infer_video(load(hint=hint), reader, videos, output_dir=args.output_dir, window=args.show)
    status = 0
    if still:
        several = not (inputs.alone or args.show)
        at_once = networks_at_once(len(still), args.threads) if several and args.hint is None else None
        status = run_pictures(inputs._replace(files=still), cut_out(load(hint=hint, at_once=at_once), pictures,
                              window=args.show), pictures, at_once=usable_cores() if several else 1, **output)
    if moving:
        matting = load(hint=args.hint or "throughput")
        status = max(status, infer_videos(matting, inputs._replace(files=moving), videos, window=args.show, **output))
    return status


if __name__ == "__main__":
    sys.exit(run_script(main))
