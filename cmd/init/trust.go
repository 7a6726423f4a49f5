package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"cocoon/contracts/registry"
	"cocoon/measure/dcap"
)

// trustKey names the collateral roots below which an external router's word for a peer counts. It is the policies' key.
const trustKey = "allowed_collateral_root_hashes"

// trust is the part of a role's file that says so. A router within judges by its own policies.
type trust struct{ Trusted []string }

// roots are Intel's if the file names none.
func (t *trust) roots() ([]dcap.RootID, error) {
	if len(t.Trusted) == 0 {
		return []dcap.RootID{dcap.IntelRootID()}, nil
	}
	out := make([]dcap.RootID, 0, len(t.Trusted))
	for _, text := range t.Trusted {
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != len(dcap.RootID{}) {
			return nil, fmt.Errorf("%s: %q is not the id of a root key, %d hex digits", trustKey, text, 2*len(dcap.RootID{}))
		}
		out = append(out, dcap.RootID(raw))
	}
	return out, nil
}

// simulates tells whether a root is named that only simulated platforms have.
func (t *trust) simulates() bool {
	roots, err := t.roots()
	return err == nil && slices.ContainsFunc(roots, func(id dcap.RootID) bool { return id != dcap.IntelRootID() })
}

// rules are what the file must keep: simulated platforms belong to networks that are neither real nor public
// (attestation.md section 16.4).
func (t *trust) rules(test, outside bool, s *rootSection) []keyRule {
	public := s.section != nil && slices.Contains([]registry.Network{registry.Mainnet, registry.Testnet}, s.section.Network)
	return []keyRule{
		{trustKey, len(t.Trusted) == 0 || outside, "is for a router outside of this process: the policies of the one within name their roots"},
		{trustKey, !t.simulates() || test && !public, "can name another root than Intel's in a test network only, and not on a public chain"},
	}
}

// permit refuses simulated platforms where the image does.
func (t *trust) permit(allowLocal bool) error {
	if t.simulates() && !allowLocal {
		return errors.New("this image refuses simulated platforms: " + trustKey + " names another root than Intel's")
	}
	return nil
}
