package pcs

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"cocoon/measure/dcap"
)

// OpenAtIssue verifies a bundle at the moment when its youngest part was issued, so that collateral whose time is over
// can be told from collateral that is forged. What it returns may have expired; dcap.Collateral.CheckTime says so.
func OpenAtIssue(b *dcap.Bundle, roots *dcap.Roots) (*dcap.Collateral, error) {
	var at time.Time
	for _, part := range []struct {
		kind dcap.Kind
		text string
		read func(string) (time.Time, error)
	}{
		{dcap.TCBInfo, b.TCBInfo, textIssued},
		{dcap.QEIdentity, b.QEIdentity, textIssued},
		{dcap.PCKCRL, b.PCKCRL, listIssued},
		{dcap.RootCRL, b.RootCACRL, listIssued},
	} {
		issued, err := part.read(part.text)
		if err != nil {
			return nil, &dcap.Error{
				Class: dcap.ClassCollateralMalformed, Err: fmt.Errorf("reading when %s was issued: %w", part.kind, err),
			}
		}
		if issued.After(at) {
			at = issued
		}
	}
	return dcap.Open(b, roots, at)
}

// textIssued reads one member of an unverified text. Whatever it says, it only chooses the time of the verification.
func textIssued(text string) (time.Time, error) {
	var d struct {
		IssueDate time.Time `json:"issueDate"`
	}
	err := json.Unmarshal([]byte(text), &d)
	return d.IssueDate, err
}

func listIssued(text string) (time.Time, error) {
	der, err := hex.DecodeString(text)
	if err != nil {
		return time.Time{}, err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return time.Time{}, err
	}
	return list.ThisUpdate, nil
}
