// Package collateral passes attestation collateral on to the guests of a host (attestation.md section 11): an HTTP relay
// that speaks the interface of Intel's caching service (PCCS), and descriptions of bundles for people.
//
// It owns the relay's paths and the descriptions. Asking, renewing and judging are measure/ratls/pcs and measure/dcap, where
// it comes from and is kept measure/ratls/pcs/sources. Nobody trusts the host, so nothing here is a security boundary for
// guests: they verify what the relay gives them. For the host's own checks the same holds towards services: a bundle is
// verified before it is passed on.
//
// Everything may be used concurrently. It refuses to relay anything but signed originals.
package collateral
