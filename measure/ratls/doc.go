// Package ratls makes TLS connections whose ends know what software the other end is: RA-TLS with TDX quotes, in the
// wire profile of the reference implementation and in our successor to it (attestation.md sections 2 to 6, 12, 13, 15).
//
// It owns the sequence TCP, proof of work, TLS, verdict, for both sides; this node's certificates and their rotation;
// the Judge, who remembers verified quotes; and the registry of live sessions, which are judged anew when what they
// were admitted by changes. Bytes of certificates are sub-package cert's, the proof of work is pow's.
//
// It trusts the quoter and the clock it is given. Peers, collateral and files of certificates are untrusted until
// checked. A Conn exists only after the peer has proved possession of the key that its evidence speaks for.
//
// All types may be used concurrently. Goroutines live in Run and Serve methods and in verifications under way, which
// are bounded. It refuses TLS below 1.3, session resumption, certificates that are about to end, and every peer whom it
// could not judge.
package ratls
