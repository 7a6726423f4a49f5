package collateral

import (
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"

	"cocoon/measure/dcap"
)

// Content types of PCS API version 4; a caching service sends revocation lists in hex as text.
const (
	jsonType = "application/json"
	derType  = "application/pkix-crl"
	pemType  = "application/x-pem-file"
	textType = "text/plain; charset=utf-8"
)

// Headers that carry issuer chains (PCS API version 4).
const (
	tcbChainHeader      = "TCB-Info-Issuer-Chain"
	identityChainHeader = "SGX-Enclave-Identity-Issuer-Chain"
	pckCRLChainHeader   = "SGX-PCK-CRL-Issuer-Chain"
)

// part is one answer of the relay.
type part struct {
	contentType   string
	header, chain string // empty when the answer has no issuer chain
	body          []byte
}

func tcbPart(b *dcap.Bundle) *part {
	return &part{
		contentType: jsonType, header: tcbChainHeader, chain: escape(b.TCBInfoIssuerChain),
		body: signed("tcbInfo", b.TCBInfo, b.TCBInfoSignature),
	}
}

func identityPart(b *dcap.Bundle) *part {
	return &part{
		contentType: jsonType, header: identityChainHeader, chain: escape(b.QEIdentityIssuerChain),
		body: signed("enclaveIdentity", b.QEIdentity, b.QEIdentitySignature),
	}
}

// signed puts a text back into the answer that it came in, byte for byte as it was signed.
func signed(member, text, signature string) []byte {
	return fmt.Appendf(nil, `{"%s":%s,"signature":"%s"}`, member, text, signature)
}

// pckCRLPart encodes the list as asked: der, pem, or hex when nothing is asked for, as caching services do.
func pckCRLPart(b *dcap.Bundle, encoding string) (*part, error) {
	der, err := hex.DecodeString(b.PCKCRL)
	if err != nil {
		return nil, fmt.Errorf("decoding stored PCK CRL: %w", err)
	}
	out := &part{header: pckCRLChainHeader, chain: escape(b.PCKCRLIssuerChain)}
	switch strings.ToLower(encoding) {
	case "der":
		out.contentType, out.body = derType, der
	case "pem":
		out.contentType, out.body = pemType, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	case "":
		out.contentType, out.body = textType, []byte(b.PCKCRL)
	default:
		return nil, badRequestError{fmt.Errorf("parameter encoding is %q, want der or pem", encoding)}
	}
	return out, nil
}

// escape encodes a chain for a header as Intel's service does: blanks become %20.
func escape(chain string) string {
	return strings.ReplaceAll(url.QueryEscape(chain), "+", "%20")
}
