//! Certificates read aloud: what is in them, and whether a chain holds.
