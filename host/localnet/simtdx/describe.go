package simtdx

import (
	"encoding/pem"
	"fmt"
	"io"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
)

// Description is what others need to know about the running platform. Everything in it is public.
type Description struct {
	// Simulated is always true.
	Simulated bool        `json:"simulated"`
	Machine   uint32      `json:"machine"`
	RootID    dcap.RootID `json:"root_id"`
	// Root is the trust root, PEM.
	Root  string     `json:"root"`
	FMSPC dcap.FMSPC `json:"fmspc"`
	// Shape is the predicted one; empty when the measurements are made up.
	Shape string     `json:"shape,omitempty"`
	MRTD  tdx.Digest `json:"mrtd"`
	RTMR0 tdx.Digest `json:"rtmr0"`
	RTMR1 tdx.Digest `json:"rtmr1"`
	RTMR2 tdx.Digest `json:"rtmr2"`
	// ImageHash is the predicted one, with the spec in RTMR3; nil when the prediction has none.
	ImageHash         *tdx.Hash `json:"image_hash,omitempty"`
	Faults            []string  `json:"faults"`
	CollateralExpires time.Time `json:"collateral_expires"`
	// Guests and PCS are where the service listens.
	Guests []string `json:"guests"`
	PCS    string   `json:"pcs,omitempty"`
	// Bundle is the platform's honest collateral, for offline use; it is not part of the document.
	Bundle *dcap.Bundle `json:"-"`
}

func rootPEM(p *measuretest.Platform) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.RootCertificate().Raw}))
}

// Banner warns people who see the service start.
func (d *Description) Banner(w io.Writer) error {
	_, err := fmt.Fprintf(w, `
  ==============================================================
   SIMULATED TDX. Nothing that this platform attests is protected
   from anybody. Trust its root in a local network, or in a test,
   and nowhere else:
   %s
   %s
  ==============================================================

`, d.RootID.String()[:48], d.RootID.String()[48:])
	if err != nil {
		return fmt.Errorf("writing banner: %w", err)
	}
	return nil
}
