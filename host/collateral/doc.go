// Package collateral keeps attestation collateral on a host's disk and passes it on to the guests (attestation.md
// section 11): a store of signed originals, the order of sources a host uses, and an HTTP relay that speaks the
// interface of Intel's caching service (PCCS).
//
// It owns the store's folder, the relay's paths and the descriptions that people read. Asking, renewing and judging are
// measure/ratls/pcs and measure/dcap. Nobody trusts the host, so nothing here is a security boundary for guests: they
// verify what the relay gives them. For the host's own checks the same holds towards services and disk: a bundle is
// verified before it is stored, when it is read back, and before it is passed on.
//
// A Store may be shared by processes; everything may be used concurrently. It refuses to store what does not verify, to
// replace collateral by older, and to relay anything but signed originals.
package collateral
