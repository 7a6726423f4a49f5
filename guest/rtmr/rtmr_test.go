package rtmr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cocoon/measure/tdx"
)

// The values of measure.md section 9.2 for the sample spec: seal-time and final RTMR3, production and debug.
func TestMessagesGiveThePublishedRegister(t *testing.T) {
	const spec = "cocoon:spec.tree=0566cc9f43f0226f9afde745fc272252eeb7febc50a78af8f2e0820ea60c65d8"
	tests := map[string]struct {
		messages []string
		want     string
	}{
		"seal time":       {[]string{spec}, "575d64b226046dd9804bcdcc55786afbfb47dfc22572df1e8b43ae7144d8ea8a247213087717ce610d7f7816a452b1d9"},
		"production":      {[]string{spec, "cocoon:tdx_inited"}, "be9f3898020cb7df9402494bfee15e8b584832506b5e9fc2638ff1652b219eceec1d187a490f9d910e7ce9d69d448610"},
		"debug seal time": {[]string{spec, "cocoon:cocoon_debug"}, "4183e616934072e4918432eeaac35d28f21e19a2056b9aad3d3a96059eccfa1a38767cf45d2bd98a085ddbc84911e27c"},
		"debug":           {[]string{spec, "cocoon:cocoon_debug", "cocoon:tdx_inited"}, "ebb2eba22cbb621a8b7226f378b105bdbe12a06be45e31504cd74d70ada92cd5ac6c24e08fce8495cf88b50a07a70c02"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var text bytes.Buffer
			log := NewLog(new(Software), &text)
			var got tdx.Digest
			for _, m := range tc.messages {
				var err error
				if got, err = log.Extend(m); err != nil {
					t.Fatal(err)
				}
			}
			if got.String() != tc.want {
				t.Errorf("RTMR3 = %s, want %s", got, tc.want)
			}
			if want := strings.Join(tc.messages, "\n") + "\n"; text.String() != want {
				t.Errorf("log = %q, want %q", text.String(), want)
			}
		})
	}
}

func TestControlCharactersAreRefusedBeforeTheyAreMeasured(t *testing.T) {
	tests := map[string]string{
		"newline": "a\nb", "NUL": "a\x00", "escape": "\x1b[2J", "not ASCII": "é", "empty": "", "long": strings.Repeat("x", 1<<12),
	}
	for name, m := range tests {
		t.Run(name, func(t *testing.T) {
			bank := new(Software)
			var text bytes.Buffer
			if _, err := NewLog(bank, &text).Extend(m); err == nil {
				t.Fatal("accepted")
			}
			if v, _ := bank.Read(tdx.RTMR3); !v.IsZero() || text.Len() != 0 {
				t.Error("measured or logged")
			}
		})
	}
}

// deaf takes writes and ignores them.
type deaf struct{ Software }

func (*deaf) Extend(tdx.Register, tdx.Digest) error { return nil }

func TestADriverThatIgnoresExtendsIsNoticed(t *testing.T) {
	var text bytes.Buffer
	_, err := NewLog(new(deaf), &text).Extend("cocoon:tdx_inited")
	if !errors.Is(err, ErrMismatch) || text.Len() != 0 {
		t.Errorf("err = %v, log = %q", err, text.String())
	}
}

// sysfs makes a folder of register files as the driver shows them; writes there replace instead of extending.
func sysfs(t *testing.T) Sysfs {
	t.Helper()
	dir := t.TempDir()
	for _, n := range []string{"rtmr0", "rtmr1", "rtmr2", "rtmr3"} {
		if err := os.WriteFile(filepath.Join(dir, n+suffix), make([]byte, tdx.DigestSize), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Sysfs{Dir: dir}
}

func TestSysfsWritesExactlyTheDigestAtOffsetZero(t *testing.T) {
	s := sysfs(t)
	digest := tdx.Sum([]byte("event"))
	if err := s.Extend(tdx.RTMR3, digest); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(s.Dir, "rtmr3:sha384"))
	if err != nil || !bytes.Equal(raw, digest[:]) {
		t.Errorf("file = %x, %v", raw, err)
	}
	if got, err := s.Read(tdx.RTMR3); err != nil || got != digest {
		t.Errorf("read = %s, %v", got, err)
	}
	if other, err := s.Read(tdx.RTMR2); err != nil || !other.IsZero() {
		t.Errorf("RTMR2 = %s, %v", other, err)
	}
}

func TestSysfsNamesWhatIsWrong(t *testing.T) {
	s := sysfs(t)
	if err := os.Truncate(filepath.Join(s.Dir, "rtmr1:sha384"), 47); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(tdx.RTMR1); err == nil || !strings.Contains(err.Error(), "RTMR1") {
		t.Errorf("short register: %v", err)
	}
	if _, err := (Sysfs{Dir: t.TempDir()}).Read(tdx.RTMR3); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent driver: %v", err)
	}
	if err := (Sysfs{Dir: t.TempDir()}).Extend(tdx.RTMR3, tdx.Digest{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent driver: %v", err)
	}
}

func TestMRTDIsNotARegisterToExtend(t *testing.T) {
	for name, bank := range map[string]Bank{"sysfs": sysfs(t), "software": new(Software)} {
		for _, r := range []tdx.Register{tdx.MRTD, tdx.RTMR3 + 1} {
			if err := bank.Extend(r, tdx.Digest{}); err == nil {
				t.Errorf("%s extended %s", name, r)
			}
			if _, err := bank.Read(r); err == nil {
				t.Errorf("%s read %s", name, r)
			}
		}
	}
}

func TestAttributesAreReadAtTheirOffset(t *testing.T) {
	report := make([]byte, reportSize)
	binary.LittleEndian.PutUint64(report[512:], 0x10000000) // SEPT_VE_DISABLE, as in the hardware sample
	got, err := parseAttributes(report)
	if err != nil || got != 0x10000000 || got.Debug() {
		t.Errorf("attributes = %#x, %v", got, err)
	}
	report[512] |= 1
	if got, _ := parseAttributes(report); !got.Debug() {
		t.Error("debug bit not seen")
	}
	if _, err := parseAttributes(report[:1023]); err == nil {
		t.Error("accepted a short report")
	}
}

func TestTheReportRequestNumberIsTheKernels(t *testing.T) {
	if getReport != 0xC4405401 { // linux/tdx-guest.h: _IOWR('T', 1, 1088 bytes)
		t.Errorf("request = %#x", getReport)
	}
	if _, err := ReadAttributes(filepath.Join(t.TempDir(), "tdx_guest")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent device: %v", err)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAttributes(plain); err == nil {
		t.Error("a plain file answered a report request")
	}
}
