package deb

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/google/go-cmp/cmp"

	"cocoon/image/deb/debtest"
)

var testNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const releaseText = `Origin: Test
Suite: testing
Codename: forky
Date: Fri, 30 Oct 2026 08:08:01 UTC
Valid-Until: Fri, 06 Nov 2026 08:08:01 UTC
MD5Sum:
 0123456789abcdef0123456789abcdef 5 main/x
SHA256:
 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae 3 main/x
 0000000000000000000000000000000000000000000000000000000000000000 0 main/y
`

func keyring(tb testing.TB, keys ...debtest.Key) openpgp.EntityList {
	tb.Helper()
	var all openpgp.EntityList
	for _, k := range keys {
		l, err := ReadKeyring(k.Public(tb))
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, l...)
	}
	return all
}

func TestVerifiedReleaseSaysWhatWasSigned(t *testing.T) {
	ours, other := debtest.NewKey(t, testNow), debtest.NewKey(t, testNow)
	r, err := VerifyRelease(debtest.Sign(t, releaseText, testNow, other, ours), keyring(t, ours), testNow)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{ours.Fingerprint()}, r.Signers); diff != "" {
		t.Errorf("signers (-want +got):\n%s", diff)
	}
	if r.Codename != "forky" || r.Suite != "testing" || !r.Date.Equal(time.Date(2026, 10, 30, 8, 8, 1, 0, time.UTC)) {
		t.Errorf("release %+v", r)
	}
	f, err := r.File("main/x")
	if want := (Listed{"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", 3}); err != nil || f != want {
		t.Errorf("File = %+v, %v, want %+v", f, err, want)
	}
	if _, err := r.File("main/z"); err == nil || !strings.Contains(err.Error(), "main/z") {
		t.Errorf("File of an unlisted name: %v", err)
	}
	both, err := VerifyRelease(debtest.Sign(t, releaseText, testNow, other, ours), keyring(t, ours, other), testNow)
	if err != nil || len(both.Signers) != 2 {
		t.Errorf("two known keys: %v, signers %q", err, both.Signers)
	}
}

func TestArmoredKeyringIsRead(t *testing.T) {
	var b bytes.Buffer
	for range 2 {
		b.WriteString("a comment\n")
		w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(debtest.NewKey(t, testNow).Public(t)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n")
	}
	keys, err := ReadKeyring(b.Bytes())
	if err != nil || len(keys) != 2 {
		t.Fatalf("ReadKeyring: %d keys, %v; want both blocks", len(keys), err)
	}
	for name, bad := range map[string][]byte{"empty": nil, "text": []byte("hello"), "huge": make([]byte, maxKeyring+1)} {
		if _, err := ReadKeyring(bad); err == nil {
			t.Errorf("%s: ReadKeyring takes it", name)
		}
	}
}

func TestVerifyReleaseRefuses(t *testing.T) {
	k, other := debtest.NewKey(t, testNow), debtest.NewKey(t, testNow)
	tomorrow := testNow.AddDate(0, 0, 2)
	future := debtest.NewKey(t, tomorrow)
	keys := keyring(t, k, future)
	signed := debtest.Sign(t, releaseText, testNow, k)
	edit := func(old, with string) []byte {
		if !bytes.Contains(signed, []byte(old)) {
			t.Fatalf("the signed text has no %q", old)
		}
		return bytes.Replace(signed, []byte(old), []byte(with), 1)
	}
	tests := map[string]struct {
		data []byte
		want error
	}{
		"unsigned":          {[]byte(releaseText), ErrUnsigned},
		"empty":             {nil, ErrUnsigned},
		"text in front":     {append([]byte("Codename: sid\n\n"), signed...), ErrUnsigned},
		"text behind":       {append(bytes.Clone(signed), "Codename: sid\n"...), ErrUnsigned},
		"wrong key":         {debtest.Sign(t, releaseText, testNow, other), ErrSignature},
		"changed text":      {edit("3 main/x", "4 main/x"), ErrSignature},
		"other codename":    {edit("Codename: forky", "Codename: trixie"), ErrSignature},
		"key from tomorrow": {debtest.Sign(t, releaseText, tomorrow, future), ErrSignature},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := VerifyRelease(tc.data, keys, testNow); !errors.Is(err, tc.want) {
				t.Errorf("VerifyRelease: %v, want %v", err, tc.want)
			}
		})
	}
	for name, text := range map[string]string{
		"no date":      "Codename: forky\n",
		"local date":   strings.Replace(releaseText, "08:08:01 UTC", "08:08:01 CET", 1),
		"bad hash":     strings.Replace(releaseText, "2c26", "zz26", 1),
		"bad size":     strings.Replace(releaseText, " 3 main/x", " -3 main/x", 1),
		"no files":     strings.Split(releaseText, "SHA256:")[0],
		"two releases": releaseText + "\nCodename: sid\n",
	} {
		t.Run("signed but "+name, func(t *testing.T) {
			if r, err := VerifyRelease(debtest.Sign(t, text, testNow, k), keyring(t, k), testNow); err == nil {
				t.Errorf("VerifyRelease takes %+v", r)
			}
		})
	}
}

func TestReleaseCheck(t *testing.T) {
	r, err := parseRelease([]byte(releaseText))
	if err != nil {
		t.Fatal(err)
	}
	before := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		name   string
		now    time.Time
		accept bool
		want   error
	}{
		"codename":           {"forky", before, false, nil},
		"suite":              {"testing", before, false, nil},
		"other suite":        {"trixie", before, false, ErrOtherName},
		"expired":            {"forky", testNow, false, ErrExpired},
		"expired, excepted":  {"forky", testNow, true, nil},
		"other, not excused": {"trixie", testNow, true, ErrOtherName},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if err := r.Check(tc.name, tc.now, tc.accept); !errors.Is(err, tc.want) {
				t.Errorf("Check: %v, want %v", err, tc.want)
			}
		})
	}
}

// FuzzInRelease: whatever a mirror sends, without the key nothing passes, and the parser does not panic.
func FuzzInRelease(f *testing.F) {
	k, other := debtest.NewKey(f, testNow), debtest.NewKey(f, testNow)
	keys := keyring(f, other)
	signed := debtest.Sign(f, releaseText, testNow, k)
	f.Add(signed)
	f.Add([]byte(releaseText))
	f.Add(signed[:len(signed)/2])
	f.Add([]byte(signedHead + "\nHash: SHA256\n\nDate: x\n-----BEGIN PGP SIGNATURE-----\n\n=AAAA\n-----END PGP SIGNATURE-----\n"))
	f.Add([]byte("SHA256:\n x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := VerifyRelease(data, keys, testNow); err == nil {
			t.Fatalf("accepted without a signature by the key: %+v", r)
		}
		if r, err := parseRelease(data); err == nil {
			for name, l := range r.files {
				if !hexHash.MatchString(l.SHA256) || l.Size < 0 {
					t.Fatalf("file %q: %+v", name, l)
				}
			}
		}
	})
}
