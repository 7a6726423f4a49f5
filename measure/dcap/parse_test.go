package dcap_test

import (
	"bytes"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

func TestJSONIsReadStrictly(t *testing.T) {
	for _, good := range []string{
		`{}`, `[]`, `""`, `0`, `-1`, `10`, `0.5`, `-0.5e+10`, `1E-2`, `true`, `false`, `null`, `{"a":{"b":[1,{"a":2}]},"c":"é"}`,
		`"\"\\\/\b\f\n\r\t\u00e9"`, `[1,2]`,
	} {
		if text, err := dcap.Walk(" \t\r\n" + good + " \n"); err != nil || text != good {
			t.Errorf("%s reads as %s (%v)", good, text, err)
		}
	}
	for _, bad := range []string{
		``, ` `, `{`, `}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{a:1}`, `{"a":1 "b":2}`, `{1:2}`, `[`, `[1,]`, `[,1]`, `[1 2]`,
		`"`, `"a`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\`, "\"\x01\"", "\"a\nb\"", `01`, `-`, `+1`, `.5`, `1.`, `1e`, `1e+`, `--1`, `tru`,
		`nul`, `NaN`, `{} {}`, `{"a":1}x`, "\xff", "\"\xc0\x80\"", `{"a":1,"a":2}`, `{"a":1,"A":2}`, `{"ſ":1,"s":2}`, "{\"K\":1,\"k\":2}",
		`{"\u0061":1}`, `[{"a":1,"a":2}]`,
		strings.Repeat("[", 20) + strings.Repeat("]", 20), `[` + strings.Repeat("1,", 1024) + `1]`, manyKeys(65),
	} {
		if text, err := dcap.Walk(bad); err == nil {
			t.Errorf("%.60q reads as %.60s", bad, text)
		}
	}
	if _, err := dcap.Walk(manyKeys(64)); err != nil {
		t.Error(err)
	}
}

func manyKeys(n int) string {
	var members []string
	for i := range n {
		members = append(members, fmt.Sprintf(`"%d":0`, i))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestJSONCannotExhaustMemory(t *testing.T) {
	row := "[" + strings.Repeat("1,", 1000) + "1]"
	if _, err := dcap.Walk("[" + strings.Repeat(row+",", 100) + row + "]"); err == nil || !strings.Contains(err.Error(), "values") {
		t.Errorf("100 000 values: %v", err)
	}
}

// sampleExtension is a well-formed extension.
func sampleExtension() extension {
	e := extension{
		ppid: make([]byte, 16), cpuSVN: make([]byte, 16), piid: make([]byte, 16), pceSVN: 11, pceID: make([]byte, 2),
		fmspc: []byte{0, 0x80, 0x6f, 5, 0xab, 0},
	}
	for i := range e.components {
		e.components[i] = 100 + 10*i
	}
	return e
}

func TestExtensionsAreReadByOID(t *testing.T) {
	e := sampleExtension()
	raw := e.encode()
	check := func(name string, raw []byte, hasPIID bool) {
		t.Helper()
		fmspc, components, pceSVN, has, err := dcap.ParsePCKExtension(raw)
		if err != nil || fmspc != dcap.FMSPC(e.fmspc) || pceSVN != 11 || components[0] != 100 || components[15] != 250 || has != hasPIID {
			t.Errorf("%s: FMSPC %s, SVNs %v %d, PIID %t (%v)", name, fmspc, components, pceSVN, has, err)
		}
	}
	check("as Intel writes it", raw, true)
	e.piid = nil
	check("without a platform instance", e.encode(), false)
	members := split(t, raw[4:]) // 30 82 xx xx
	reversed := []byte(nil)
	for _, m := range members {
		reversed = append(append([]byte(nil), m...), reversed...)
	}
	check("in another order", tlv(0x30, reversed), true)
	unknown := tlv(0x30, append(tlv(6, []byte{0x2a, 3, 4}), 5, 0))
	later := tlv(0x30, append(tlv(6, []byte("\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01\x09")), 5, 0))
	another := tlv(0x30, append(tlv(6, []byte{0x2a, 3, 5}), 5, 0))
	beyond := tlv(0x30, append(tlv(6, []byte("\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01\x44")), 5, 0))
	check("with members that Intel may add", tlv(0x30, bytes.Join([][]byte{raw[4:], unknown, later, another, beyond}, nil)), true)
	e.pceSVN = 65535
	if _, _, pceSVN, _, err := dcap.ParsePCKExtension(e.encode()); err != nil || pceSVN != 65535 {
		t.Errorf("PCESVN %d (%v)", pceSVN, err)
	}
}

// split cuts a list of DER elements with lengths below 64 KiB.
func split(t *testing.T, list []byte) (out [][]byte) {
	t.Helper()
	for len(list) > 0 {
		n := 2 + int(list[1])
		switch list[1] {
		case 0x81:
			n = 3 + int(list[2])
		case 0x82:
			n = 4 + int(list[2])<<8 + int(list[3])
		}
		out, list = append(out, list[:n]), list[n:]
	}
	return out
}

func TestMalformedExtensionsAreRefused(t *testing.T) {
	whole := sampleExtension()
	good := whole.encode()
	members := split(t, good[4:])
	with := func(edit func(e *extension)) []byte {
		e := sampleExtension()
		edit(&e)
		return e.encode()
	}
	cases := map[string][]byte{
		"empty":              nil,
		"no sequence":        {0x31, 0},
		"empty sequence":     {0x30, 0},
		"trailing byte":      append(bytes.Clone(good), 0),
		"long form, short":   {0x30, 0x81, 0x05, 0, 0, 0, 0, 0},
		"indefinite length":  {0x30, 0x80, 0, 0},
		"huge length":        {0x30, 0x84, 0xff, 0xff, 0xff, 0xff},
		"PPID of 15 bytes":   with(func(e *extension) { e.ppid = e.ppid[1:] }),
		"PCEID of 3 bytes":   with(func(e *extension) { e.pceID = make([]byte, 3) }),
		"FMSPC of 5 bytes":   with(func(e *extension) { e.fmspc = e.fmspc[1:] }),
		"CPUSVN of 17 bytes": with(func(e *extension) { e.cpuSVN = make([]byte, 17) }),
		"PIID of 0 bytes":    with(func(e *extension) { e.piid = []byte{} }),
		"component of 256":   with(func(e *extension) { e.components[3] = 256 }),
		"PCESVN of 65536":    with(func(e *extension) { e.pceSVN = 65536 }),
		"member not a list":  tlv(0x30, append(bytes.Join(members, nil), 5, 0)),
		"member too long":    tlv(0x30, append(bytes.Join(members, nil), tlv(0x30, append(tlv(6, []byte{1}), 5, 0, 5, 0))...)),
		"SVNs not a list":    bytes.Replace(good, []byte("\x01\x0d\x01\x02\x30"), []byte("\x01\x0d\x01\x02\x04"), 1),
		"SVN not an integer": bytes.Replace(good, []byte("\x02\x01\x02\x01\x64"), []byte("\x02\x01\x0a\x01\x64"), 1),
		"negative SVN":       bytes.Replace(good, []byte("\x02\x01\x02\x01\x64"), []byte("\x02\x01\x02\x01\x84"), 1),
		"type not an enum":   bytes.Replace(good, []byte("\x01\x05\x0a"), []byte("\x01\x05\x02"), 1),
	}
	for i, m := range members {
		cases[fmt.Sprintf("member %d twice", i+1)] = tlv(0x30, append(bytes.Join(members, nil), m...))
		if i < 5 {
			without := bytes.Join(append(append([][]byte(nil), members[:i]...), members[i+1:]...), nil)
			cases[fmt.Sprintf("member %d missing", i+1)] = tlv(0x30, without)
		}
	}
	// Inside the list of SVNs, the second member.
	svns := split(t, svnList(t, members[1]))
	rebuilt := func(list ...[]byte) []byte {
		oid := tlv(6, []byte("\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01\x02"))
		tcb := tlv(0x30, append(oid, tlv(0x30, bytes.Join(list, nil))...))
		return tlv(0x30, bytes.Join([][]byte{members[0], tcb, members[2], members[3], members[4]}, nil))
	}
	if _, _, _, _, err := dcap.ParsePCKExtension(rebuilt(svns...)); err != nil {
		t.Fatal(err)
	}
	first := []byte("\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01\x02\x01")
	for i := range svns {
		cases[fmt.Sprintf("SVN %d missing", i+1)] = rebuilt(append(append([][]byte(nil), svns[:i]...), svns[i+1:]...)...)
		cases[fmt.Sprintf("SVN %d twice", i+1)] = rebuilt(append(append([][]byte(nil), svns...), svns[i])...)
	}
	cases["SVN of five bytes"] = rebuilt(append([][]byte{tlv(0x30, append(tlv(6, first), 2, 5, 1, 0, 0, 0, 5))}, svns[1:]...)...)
	cases["length in long form"] = rebuilt(append([][]byte{tlv(0x30, append(tlv(6, first), 2, 0x81, 1, 5))}, svns[1:]...)...)
	cases["OID is none"] = rebuilt(append([][]byte{tlv(0x30, append(tlv(4, first), 2, 1, 5))}, svns[1:]...)...)
	for n := range good {
		cases[fmt.Sprintf("cut to %d", n)] = good[:n]
	}
	for name, raw := range cases {
		if _, _, _, _, err := dcap.ParsePCKExtension(raw); err == nil {
			t.Errorf("%s: was read", name)
		}
	}
	refused(t, tdx.TDX, map[string]change{"in a certificate": {dcap.ClassChain, "SGX extension", edits{
		func(s *scene) { s.bare = true },
		func(s *scene) { s.ext.edit = func(raw []byte) []byte { return raw[:20] } },
	}}})
}

// svnList is the content of the SVNs' sequence, behind the OID of its member.
func svnList(t *testing.T, member []byte) []byte {
	t.Helper()
	parts := split(t, member[1+lengthBytes(member):])
	return parts[1][1+lengthBytes(parts[1]):]
}

func TestPEMIsReadInOneFormOnly(t *testing.T) {
	s := newScene(t, tdx.TDX)
	s.build(t)
	block := toPEM(s.rootCert)
	for name, tc := range map[string]struct {
		text string
		want int
	}{
		"one":                {block, 1},
		"two":                {block + block, 2},
		"without line feed":  {strings.TrimSuffix(block, "\n"), 1},
		"NUL":                {block + "\x00", 1},
		"NUL, no line feed":  {strings.TrimSuffix(block, "\n") + "\x00", 1},
		"lines of full size": {"-----BEGIN CERTIFICATE-----\n" + strings.Repeat("A", 64) + "\n-----END CERTIFICATE-----\n", 1},
	} {
		if certs, err := dcap.PEMChain([]byte(tc.text), tc.want); err != nil || len(certs) != tc.want {
			t.Errorf("%s: %d certificates (%v)", name, len(certs), err)
		}
	}
	lines := strings.SplitAfter(block, "\n")
	for name, text := range map[string]string{
		"empty":              "",
		"two for one":        block + block,
		"space before":       " " + block,
		"space between":      strings.TrimSuffix(block, "\n") + "  \n",
		"two line feeds":     block + "\n",
		"two NULs":           block + "\x00\x00",
		"carriage returns":   strings.ReplaceAll(block, "\n", "\r\n"),
		"headers":            strings.Replace(block, "-----\n", "-----\nA: b\n\n", 1),
		"another type":       strings.ReplaceAll(block, "CERTIFICATE", "X509 CRL"),
		"no end":             strings.Join(lines[:len(lines)-2], ""),
		"short line":         lines[0] + lines[1][:60] + "\n" + lines[1][60:] + strings.Join(lines[2:], ""),
		"joined lines":       lines[0] + strings.TrimSuffix(lines[1], "\n") + strings.Join(lines[2:], ""),
		"empty line":         lines[0] + lines[1] + "\n" + strings.Join(lines[2:], ""),
		"empty last line":    "-----BEGIN CERTIFICATE-----\n" + strings.Repeat("A", 64) + "\n\n-----END CERTIFICATE-----\n",
		"nothing in it":      "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
		"no line feed at it": "-----BEGIN CERTIFICATE-----\nAAAA-----END CERTIFICATE-----\n",
		"bits after the end": "-----BEGIN CERTIFICATE-----\nAAB=\n-----END CERTIFICATE-----\n",
		"no padding":         "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n",
		"padding inside":     "-----BEGIN CERTIFICATE-----\n" + strings.Repeat("A", 62) + "==\nAAAA\n-----END CERTIFICATE-----\n",
		"carriage return":    "-----BEGIN CERTIFICATE-----\nAAAA\r\n-----END CERTIFICATE-----\n",
		"other alphabet":     "-----BEGIN CERTIFICATE-----\nAA-_\n-----END CERTIFICATE-----\n",
		"too large":          "-----BEGIN CERTIFICATE-----\n" + strings.Repeat(strings.Repeat("A", 64)+"\n", 260) + "-----END CERTIFICATE-----\n",
	} {
		if _, err := dcap.PEMChain([]byte(text), 1); err == nil {
			t.Errorf("%s: was read", name)
		}
	}
}

func TestCertificatesAreOnLinesOfTheirOwn(t *testing.T) {
	s := newScene(t, tdx.TDX)
	s.build(t)
	block := toPEM(s.rootCert)
	if _, err := dcap.PEMChain([]byte(strings.TrimSuffix(block, "\n")+block), 2); err == nil {
		t.Error("two certificates on one line were read")
	}
}

// Every pair of statuses combines to one that is at least as bad as each, in either order.
func TestCombinedStatusesAreNoBetterThanTheirParts(t *testing.T) {
	if got := dcap.Combine(); got != dcap.NoStatus {
		t.Errorf("nothing combines to %s", got)
	}
	for a := dcap.NoStatus; a <= dcap.Revoked; a++ {
		if got := dcap.Combine(a); got != a {
			t.Errorf("%s alone is %s", a, got)
		}
		for b := dcap.NoStatus; b <= dcap.Revoked; b++ {
			got := dcap.Combine(a, b)
			if got < a || got < b || got != dcap.Combine(b, a) || got != dcap.Combine(a, b, a, b) {
				t.Errorf("%s and %s combine to %s", a, b, got)
			}
		}
	}
}

func TestVerifiersRememberNoMoreThanAsked(t *testing.T) {
	for _, size := range []int{0, 1, 4} {
		s := newScene(t, tdx.TDX)
		b := s.build(t)
		v := dcap.NewVerifier(b.roots, size)
		for i := range 7 {
			s.pck.SerialNumber = big.NewInt(int64(1000 + i)) // another certificate below the same root
			b = s.build(t)
			c, err := dcap.Open(b.bundle, b.roots, b.now)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := v.Verify(b.quote, c, b.now); err != nil {
					t.Fatal(err)
				}
			}
			if chains, keys := v.CacheSize(); chains > size || keys > size || (size >= 2 && (chains == 0 || keys == 0)) {
				t.Errorf("of at most %d, %d chains and %d keys are kept", size, chains, keys)
			}
		}
	}
}
