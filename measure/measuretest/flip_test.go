package measuretest_test

import (
	"bytes"
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/tests/inputs"
)

// Every bit of a quote is under a signature or decides its form: a quote with one bit changed never verifies. Bytes
// after the quote change nothing. The default run flips one bit of each seventh byte; COCOON_TEST=chain flips all.
func TestNoBitOfAQuoteCanBeChanged(t *testing.T) {
	p := platform(t)
	for name, spec := range map[string]measuretest.Spec{"v3": {Version: 3}, "v4": {}, "v5": {Version: 5}} {
		t.Run(name, func(t *testing.T) {
			q := quote(t, p, spec)
			bundle, err := p.BundleWith(measuretest.CollateralSpec{SGX: spec.Version == 3})
			if err != nil {
				t.Fatal(err)
			}
			c, err := dcap.Open(bundle, p.Roots(), testTime)
			if err != nil {
				t.Fatal(err)
			}
			v := dcap.NewVerifier(p.Roots(), 0)
			step, bits := 7, 1
			if inputs.Wants("chain") {
				step, bits = 1, 8
			}
			for at := 0; at < len(q); at += step {
				for bit := range bits {
					mask := byte(1) << ((at + bit) % 8)
					q[at] ^= mask
					if _, err := v.Verify(q, c, testTime); err == nil {
						t.Errorf("byte %d of %d with bits 0x%02x flipped (now %q) still verifies", at, len(q), mask, q[at])
					} else if dcap.ClassOf(err) == "" {
						t.Errorf("byte %d: an error without a class: %v", at, err)
					}
					q[at] ^= mask
				}
			}
			long := append(bytes.Clone(q), bytes.Repeat([]byte{0xa5}, 100)...)
			if _, err := v.Verify(long, c, testTime); err != nil {
				t.Errorf("trailing bytes: %v", err)
			}
		})
	}
}
