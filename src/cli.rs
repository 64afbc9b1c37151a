//! The command line: raw arguments into checked configuration, and the only place that prints.
