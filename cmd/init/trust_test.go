package main

import (
	"strings"
	"testing"

	"cocoon/measure/dcap"
)

// TestRolesTrustIntelsRootAlone: what an external router says of a peer counts below Intel's root. Another root is for test
// networks on no public chain, and for images that allow simulated platforms.
func TestRolesTrustIntelsRootAlone(t *testing.T) {
	other := strings.Repeat("ab", len(dcap.RootID{}))
	trusting := func(file, ids string) string {
		return strings.Replace(file, `"image_hash":`, `"allowed_collateral_root_hashes":[`+ids+`],"image_hash":`, 1)
	}
	public := `"root":{"address":"` + someOwner + `","network":"testnet","config":"c"},"image_hash":`
	type parsed struct {
		*trust
		err error
	}
	worker := func(file string) parsed {
		c, _, err := parseWorkerConfig([]byte(file))
		if err != nil {
			return parsed{err: err}
		}
		return parsed{&c.trust, nil}
	}
	proxy := func(file string) parsed {
		c, _, err := parseProxyConfig([]byte(file))
		if err != nil {
			return parsed{err: err}
		}
		return parsed{&c.trust, nil}
	}
	for name, tc := range map[string]struct {
		got  parsed
		want string // of the error
		id   string // the only one trusted
		sim  bool
	}{
		"worker, nothing said":     {worker(referenceFile), "", dcap.IntelRootID().String(), false},
		"worker, Intel's":          {worker(trusting(referenceFile, `"`+dcap.IntelRootID().String()+`"`)), "", dcap.IntelRootID().String(), false},
		"worker, another":          {worker(trusting(referenceFile, `"`+other+`"`)), "", other, true},
		"worker, outside of tests": {worker(strings.Replace(trusting(referenceFile, `"`+other+`"`), `"is_test":"1"`, `"is_test":"0"`, 1)), "in a test network only", "", false},
		"worker, on a public chain": {
			worker(strings.Replace(strings.Replace(trusting(referenceFile, `"`+other+`"`), `"root_contract_address":"x",`, "", 1), `"image_hash":`, public, 1)),
			"not on a public chain", "", false,
		},
		"worker, half an id": {worker(trusting(referenceFile, `"abcd"`)), "96 hex digits", "", false},
		"worker, a router within": {
			worker(strings.Replace(trusting(referenceFile, `"`+other+`"`), `"connect_to_proxy_via":"127.0.0.1:8116"`, `"router":"r.json"`, 1)),
			"the policies of the one within", "", false,
		},
		"proxy, nothing said": {proxy(goodProxy), "", dcap.IntelRootID().String(), false},
		"proxy, another":      {proxy(trusting(goodProxy, `"`+other+`"`)), "", other, true},
		"proxy, no id":        {proxy(trusting(goodProxy, `"x"`)), "96 hex digits", "", false},
	} {
		if tc.want != "" {
			if tc.got.err == nil || !strings.Contains(tc.got.err.Error(), tc.want) || !strings.Contains(tc.got.err.Error(), trustKey) {
				t.Errorf("%s: %v, want an error with %q", name, tc.got.err, tc.want)
			}
			continue
		}
		if tc.got.err != nil {
			t.Errorf("%s: %v", name, tc.got.err)
			continue
		}
		roots, err := tc.got.roots()
		if err != nil || len(roots) != 1 || roots[0].String() != tc.id || tc.got.simulates() != tc.sim {
			t.Errorf("%s: %v, %v, simulates: %t", name, roots, err, tc.got.simulates())
		}
		if err := tc.got.permit(false); (err != nil) != tc.sim {
			t.Errorf("%s: an image for real networks says %v", name, err)
		}
		if err := tc.got.permit(true); err != nil {
			t.Errorf("%s: a test image says %v", name, err)
		}
	}
}
