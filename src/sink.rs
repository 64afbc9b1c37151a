//! Where a backup goes: the trait, and one backend per file.
