"""`python -m training.robustness`: the robustness of a model, measured."""

from training.robustness.suite import main

if __name__ == "__main__":
    main()
