//! Leases: a row with an epoch whose holder requires it in its batches.
