"""What the programs of the Python clients share: requests of one line in, answers of one line out."""

import base64
import json
import platform
import sys
import threading

PATIENCE = 50.0


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def say_record(partition, offset, value):
    say({"event": "record", "p": partition, "o": offset, "v": value.decode()})


def say_committed(partition, offset):
    say({"event": "committed", "p": partition, "o": offset})


def to_bytes(text):
    return None if text is None else base64.b64decode(text)


def to_text(data):
    return None if data is None else base64.b64encode(data).decode()


def record(partition, offset, key, value, headers, time_ms):
    return {
        "p": partition, "o": offset, "k": to_text(key), "v": to_text(value), "t": time_ms,
        "h": [{"n": name, "v": to_text(v)} for name, v in headers],
    }


def headers_of(rec):
    return [(h["n"], to_bytes(h["v"])) for h in rec["h"] or []]


def stdin_ended():
    """An event that is set when stdin ends."""
    ended = threading.Event()

    def watch():
        sys.stdin.read()
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    return ended


def serve(version, answer):
    """Answers every line of stdin with what answer(request) returns or raises."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["op"] == "hello":
                ok = {"version": version, "language": "Python " + platform.python_version()}
            else:
                ok = answer(request)
            say({"ok": ok})
        except Exception as e:  # whatever the client raises is its answer
            say({"error": f"{type(e).__name__}: {e}"})
