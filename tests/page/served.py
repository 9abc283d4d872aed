"""Run demo.py and write each address outside this machine that it asks for to the file that the first argument names."""
import sys
from pathlib import Path

LOOPBACK = ("127.0.0.1", "::1", "localhost", "0.0.0.0", None)


def watch(log: Path) -> None:
    """Append the host of each connection and look-up that leaves this machine to `log`."""
    def hook(event: str, args: tuple) -> None:
        if event == "socket.connect" and isinstance(args[1], tuple) and args[1][0] not in LOOPBACK:
            asked = args[1][0]
        elif event == "socket.getaddrinfo" and args[0] not in LOOPBACK:
            asked = args[0]
        else:
            return
        with log.open("a") as file:
            file.write(f"{event} {asked}\n")

    sys.addaudithook(hook)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
    watch(Path(sys.argv[1]))
    import demo

    sys.exit(demo.main(sys.argv[2:]))
