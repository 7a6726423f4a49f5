package dcap

import "errors"

// Kind is a piece of collateral that is fetched by itself.
type Kind uint8

// The kinds, in the order in which Requests lists them.
const (
	TCBInfo Kind = iota + 1
	QEIdentity
	PCKCRL
	RootCRL
)

// String names the kind for logs and metrics.
func (k Kind) String() string {
	switch k {
	case TCBInfo:
		return "tcb_info"
	case QEIdentity:
		return "qe_identity"
	case PCKCRL:
		return "pck_crl"
	case RootCRL:
		return "root_crl"
	}
	return "unknown"
}

// MaxResponse bounds an answer (attestation.md section 11.1).
const MaxResponse = 1 << 20

// RootCRLURL is where Intel publishes the root's revocation list, in DER. Its provisioning service does not serve it;
// caches do, at the path of the RootCRL request.
const RootCRLURL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"

// Request is one question to Intel's provisioning service or a cache of it.
type Request struct {
	Kind Kind
	// Path begins with a slash; Query is encoded, and empty when there is none.
	Path, Query string
	// IssuerChain is the name of the response header with the issuer chain; empty for the root's revocation list.
	IssuerChain string
}

// Response is the answer to the request of the same kind.
type Response struct {
	Kind Kind
	Body []byte
	// IssuerChain is the value of the header that the request names, as received: URL-encoded PEM.
	IssuerChain string
}

// Requests lists what has to be asked for a platform: four questions.
func Requests(_ Platform) []Request { return nil }

// Assemble makes a bundle of the four answers. It checks their outer form strictly, and no signature: Open does.
func Assemble(_ []Response) (*Bundle, error) { return nil, errors.New("assembling collateral: not yet") }
