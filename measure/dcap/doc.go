// Package dcap verifies quotes of Intel TDs and SGX enclaves against Intel's collateral (attestation.md sections 9 to 11).
//
// It owns three things. Open checks a bundle of collateral once, from exactly the signed bytes, into an immutable
// Collateral. A Verifier checks a quote against it: certificate chain, revocation, the quoting enclave's report and
// identity, the quote's signature, and where the platform stands among the TCB levels. Requests and Assemble say which
// answers of Intel's provisioning service, or of a cache of it, make a bundle, and put them together.
//
// It trusts the root certificates it is given and nothing else: quotes come from attackers, collateral from whoever
// passes it on. The clock is always an argument. TCB status is reported, not judged: measure/policy decides which
// statuses and advisories are acceptable. Errors carry a Class, the word that metrics and verdicts use.
//
// Everything may be used concurrently; only a Verifier has state, a bounded cache of certificate chains. It refuses to
// reach the network, to log, to guess at malformed input, and to accept a chain that ends anywhere but in its roots.
package dcap
