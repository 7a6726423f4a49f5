package dcap

import (
	"bytes"
	"encoding/json"
	"fmt"

	"cocoon/measure/strictjson"
)

// MaxBundle bounds an encoded bundle. Intel's answers for one platform have 20 kB together.
const MaxBundle = 2 << 20

// Bundle is everything that is needed to verify the quotes of one platform, as it was signed. Its JSON form is an object
// of exactly these nine strings (attestation.md section 11.1).
type Bundle struct {
	// PCKCRLIssuerChain is PEM: the PCK CA of the platform and the root.
	PCKCRLIssuerChain string `json:"pck_crl_issuer_chain"`
	// RootCACRL and PCKCRL are revocation lists, DER in hex.
	RootCACRL string `json:"root_ca_crl"`
	PCKCRL    string `json:"pck_crl"`
	// TCBInfo is the signed text, byte for byte; its signature is r ‖ s in 128 hex digits. The issuer chain is PEM: the
	// TCB signing certificate and the root. The same holds for QEIdentity.
	TCBInfoIssuerChain    string `json:"tcb_info_issuer_chain"`
	TCBInfo               string `json:"tcb_info"`
	TCBInfoSignature      string `json:"tcb_info_signature"`
	QEIdentityIssuerChain string `json:"qe_identity_issuer_chain"`
	QEIdentity            string `json:"qe_identity"`
	QEIdentitySignature   string `json:"qe_identity_signature"`
}

// ParseBundle reads the JSON form: all nine strings, and nothing else. It verifies nothing; Open does.
func ParseBundle(data []byte) (*Bundle, error) {
	if len(data) > MaxBundle {
		return nil, fail(ClassCollateralMalformed, "reading collateral bundle: %d bytes, at most %d", len(data), MaxBundle)
	}
	b := new(Bundle)
	if err := strictjson.Decode(data, b); err != nil {
		return nil, fail(ClassCollateralMalformed, "reading collateral bundle: %w", err)
	}
	if err := b.checkComplete(); err != nil {
		return nil, fail(ClassCollateralMalformed, "reading collateral bundle: %w", err)
	}
	return b, nil
}

// Encode writes the JSON form that ParseBundle reads.
func (b *Bundle) Encode() []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(b); err != nil {
		return nil // strings always encode
	}
	return out.Bytes()
}

func (b *Bundle) checkComplete() error {
	for _, f := range []struct{ name, value string }{
		{"pck_crl_issuer_chain", b.PCKCRLIssuerChain},
		{"root_ca_crl", b.RootCACRL},
		{"pck_crl", b.PCKCRL},
		{"tcb_info_issuer_chain", b.TCBInfoIssuerChain},
		{"tcb_info", b.TCBInfo},
		{"tcb_info_signature", b.TCBInfoSignature},
		{"qe_identity_issuer_chain", b.QEIdentityIssuerChain},
		{"qe_identity", b.QEIdentity},
		{"qe_identity_signature", b.QEIdentitySignature},
	} {
		if f.value == "" {
			return fmt.Errorf("%s is missing or empty", f.name)
		}
	}
	return nil
}
