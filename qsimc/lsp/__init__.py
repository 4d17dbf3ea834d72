"""The language server: what `qsimc check` and `qsimc explain` say, in an editor while one types."""
