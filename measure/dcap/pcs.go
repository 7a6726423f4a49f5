package dcap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"cocoon/measure/tdx"
)

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
	default:
		return "unknown"
	}
}

// Bounds of answers (attestation.md section 11.1). An issuer chain comes in a header.
const (
	MaxResponse    = 1 << 20
	maxIssuerChain = 32 << 10
)

// Paths and headers of Intel's provisioning service, version 4, and of caches that mirror it.
const (
	pathTCBInfo    = "/%s/certification/v4/tcb"
	pathQEIdentity = "/%s/certification/v4/qe/identity"
	pathPCKCRL     = "/sgx/certification/v4/pckcrl"
	pathRootCRL    = "/sgx/certification/v4/rootcacrl"

	headerTCBInfo    = "TCB-Info-Issuer-Chain"
	headerQEIdentity = "SGX-Enclave-Identity-Issuer-Chain"
	headerPCKCRL     = "SGX-PCK-CRL-Issuer-Chain"
)

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

// Requests lists what has to be asked for a platform: four questions, in the order of Kind.
func Requests(p Platform) []Request {
	tee := strings.ToLower(p.TEE.String())
	return []Request{
		{TCBInfo, fmt.Sprintf(pathTCBInfo, tee), url.Values{"fmspc": {p.FMSPC.String()}}.Encode(), headerTCBInfo},
		{QEIdentity, fmt.Sprintf(pathQEIdentity, tee), "", headerQEIdentity},
		{PCKCRL, pathPCKCRL, url.Values{"ca": {p.CA.String()}, "encoding": {"der"}}.Encode(), headerPCKCRL},
		{RootCRL, pathRootCRL, "", ""},
	}
}

// Assemble makes a bundle of the four answers, in any order. It checks their outer form strictly, and no signature: Open
// does.
func Assemble(responses []Response) (*Bundle, error) {
	b := new(Bundle)
	var seen [RootCRL + 1]bool
	for i := range responses {
		r := &responses[i]
		if r.Kind < TCBInfo || r.Kind > RootCRL || seen[r.Kind] {
			return nil, fail(ClassCollateralMalformed, "assembling collateral: answer %d (%s) is unknown or comes twice", i, r.Kind)
		}
		seen[r.Kind] = true
		if err := r.into(b); err != nil {
			return nil, fail(ClassCollateralMalformed, "assembling collateral: reading %s: %w", r.Kind, err)
		}
	}
	if err := b.checkComplete(); err != nil {
		return nil, fail(ClassCollateralMalformed, "assembling collateral: %w", err)
	}
	return b, nil
}

// into writes an answer into its fields of a bundle.
func (r *Response) into(b *Bundle) (err error) {
	if len(r.Body) > MaxResponse {
		return fmt.Errorf("%d bytes, at most %d", len(r.Body), MaxResponse)
	}
	switch r.Kind {
	case TCBInfo:
		b.TCBInfo, b.TCBInfoSignature, err = SplitSigned(r.Body, "tcbInfo")
		b.TCBInfoIssuerChain = r.chain(&err)
	case QEIdentity:
		b.QEIdentity, b.QEIdentitySignature, err = SplitSigned(r.Body, "enclaveIdentity")
		b.QEIdentityIssuerChain = r.chain(&err)
	case PCKCRL:
		b.PCKCRL, err = hexCRL(r.Body)
		b.PCKCRLIssuerChain = r.chain(&err)
	case RootCRL:
		b.RootCACRL, err = hexCRL(r.Body)
	}
	return err
}

// chain decodes the issuer chain, unless there is an error already.
func (r *Response) chain(err *error) string {
	if *err != nil {
		return ""
	}
	if len(r.IssuerChain) > maxIssuerChain {
		*err = fmt.Errorf("issuer chain of %d bytes, at most %d", len(r.IssuerChain), maxIssuerChain)
		return ""
	}
	// PathUnescape leaves '+' alone, which is part of base64; services that encode it write %2B.
	text, unescapeErr := url.PathUnescape(r.IssuerChain)
	if unescapeErr != nil {
		*err = fmt.Errorf("decoding issuer chain: %w", unescapeErr)
	}
	return text
}

// SplitSigned takes an answer apart that must be exactly {"name":<object>,"signature":"<128 hex digits>"}: the text of
// the object as received, which is what was signed, and the signature. Another member, a repeated one or one that
// differs only in letter case is an error: a lenient reader would take unsigned values for signed ones.
func SplitSigned(body []byte, name string) (text, signature string, err error) {
	v, err := walk(string(body))
	if err != nil {
		return "", "", err
	}
	f := fieldsOf("answer", &v, name, "signature")
	text, signature = f.need(name, isObject).raw, f.text("signature")
	switch {
	case f.err != nil:
		return "", "", f.err
	case len(v.members) != 2:
		return "", "", fmt.Errorf("%d members, want %q and \"signature\" alone", len(v.members), name)
	case len(signature) != 2*rawSignatureSize:
		return "", "", fmt.Errorf("signature of %d characters, want %d", len(signature), 2*rawSignatureSize)
	}
	return text, signature, nil
}

// hexCRL is a revocation list in hex. Intel sends DER; caches also send hex.
func hexCRL(body []byte) (string, error) {
	text := bytes.TrimSpace(body)
	raw := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(raw, text); err == nil && len(raw) > 0 {
		return strings.ToLower(string(text)), nil
	}
	if len(body) == 0 || body[0] != tagSequence {
		return "", errors.New("neither DER nor hex")
	}
	return hex.EncodeToString(body), nil
}

// TEE is the kind of TEE whose quotes an answer of the kind TCBInfo or QEIdentity is about, by its path.
func (r Request) TEE() tdx.TEEType {
	if strings.HasPrefix(r.Path, "/tdx/") {
		return tdx.TDX
	}
	return tdx.SGX
}
