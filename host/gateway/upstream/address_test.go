package upstream

import "testing"

// TestAddressesAreComparedParsed: every form of one address is the same, and what is none is nobody's.
func TestAddressesAreComparedParsed(t *testing.T) {
	const raw = "0:a7b3b6d84a9d22805bd2d70a5be70b198c2282575f4c0f9015cc8e04cb1b2753"
	for name, tc := range map[string]struct{ text, want string }{
		"raw":            {raw, raw},
		"raw, upper":     {"0:A7B3B6D84A9D22805BD2D70A5BE70B198C2282575F4C0F9015CC8E04CB1B2753", raw},
		"bounceable":     {"EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k", raw},
		"wrong checksum": {"EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73l", "EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73l"},
		"short":          {"0:c1", "0:c1"},
		"empty":          {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := RawAddress(tc.text); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
