//! A place that holds many backups: packs, index, manifest.
