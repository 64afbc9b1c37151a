//! Parts for simulations: virtual network, builders, invariants.
