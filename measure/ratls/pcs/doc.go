// Package pcs gets attestation collateral over HTTP and keeps it fresh in memory, for guests and hosts alike
// (attestation.md section 11).
//
// A Client speaks to Intel's provisioning certification service (PCS) or to a caching service (PCCS, such as the relay
// of host/collateral); Fixed holds bundles that came some other way. A Cache asks its sources in order, opens what they
// give, serves it while it is valid and renews it at half of its life. It implements the collateral source that
// verification of peers needs. The package owns the conversation, the order of sources and the moments of renewal; what
// collateral is and whether it is genuine is measure/dcap's to say.
//
// No source is trusted, nor is the way to it: a bundle counts only after dcap has opened it under the given roots, and
// only if it is not older than what is held. Everything here is safe for concurrent use; a Cache's goroutines end with
// Close. It refuses to serve collateral past its expiry, to follow redirects, to read answers over 1 MiB, and to let
// strangers who name unknown platforms turn it into a load on its sources.
package pcs
