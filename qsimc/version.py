"""The version of qsimc, for those below the public package."""

VERSION = "0.1.0"
