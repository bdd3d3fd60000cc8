"""The main program of the stand-alone `detector`, one file that needs no Python (docs/ship-it.md).

Room: frozen. PyInstaller builds it from this file; a checkout or a wheel has the command `detector` instead.
"""

from detector.frozen.programs import run_detector

if __name__ == "__main__":
    run_detector()
