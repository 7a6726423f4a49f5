package firewall

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write testdata/rules.golden")

// recorder is a kernel that notes what it is sent.
type recorder struct {
	sent []netlink.Message
	err  error
}

func (r *recorder) dial() (*nftables.Conn, error) {
	return nftables.New(nftables.WithTestDial(func(req []netlink.Message) ([]netlink.Message, error) {
		r.sent = append(r.sent, req...)
		return req, r.err
	}))
}

// listing is the rules as text, then every message as the kernel gets it.
func (r *recorder) listing(rules ...Rule) string {
	var out strings.Builder
	for _, c := range chains() {
		fmt.Fprintf(&out, "chain %s hook %d policy %d\n", c.name, *c.hook, c.policy)
	}
	for _, rule := range rules {
		fmt.Fprintln(&out, rule.Text)
	}
	for _, m := range r.sent {
		fmt.Fprintf(&out, "%#04x %#04x %s\n", uint16(m.Header.Type), uint16(m.Header.Flags), hex.EncodeToString(m.Data))
	}
	return out.String()
}

func TestTheKernelGetsExactlyTheseRules(t *testing.T) {
	const golden = "testdata/rules.golden" // for amd64: the kernel takes some values in its own byte order
	kernel := new(recorder)
	f := New(kernel.dial)
	if err := errors.Join(f.Apply(), f.Open(8443)); err != nil {
		t.Fatal(err)
	}
	got := kernel.listing(append(Rules(), portRule(8443))...)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("rules changed; look at every line, then run with -update:\n%s", diff)
	}
}

func TestNothingIsOpenedThatShouldNotBe(t *testing.T) {
	tests := map[string]struct {
		apply bool
		ports []uint16
		want  error
	}{
		"before the rules are applied": {false, []uint16{443}, ErrNotApplied},
		"port 0":                       {true, []uint16{0}, ErrPort},
		"one port too many":            {true, []uint16{1, 2, 3, 4, 5}, ErrPort},
		"the same port again":          {true, []uint16{1, 1, 1, 1, 1, 1}, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := New(new(recorder).dial)
			if tc.apply {
				if err := f.Apply(); err != nil {
					t.Fatal(err)
				}
			}
			var last error
			for _, p := range tc.ports {
				last = f.Open(p)
			}
			if !errors.Is(last, tc.want) {
				t.Errorf("err = %v, want %v", last, tc.want)
			}
		})
	}
}

func TestARefusedRuleSetIsNotApplied(t *testing.T) {
	f := New((&recorder{err: unix.EOPNOTSUPP}).dial)
	if err := f.Apply(); !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "nft_ct") {
		t.Errorf("err = %v", err)
	}
	if err := f.Open(443); !errors.Is(err, ErrNotApplied) {
		t.Errorf("err = %v", err)
	}
	broken := errors.New("no netlink")
	f = New(func() (*nftables.Conn, error) { return nil, broken })
	if err := f.Apply(); !errors.Is(err, broken) {
		t.Errorf("err = %v", err)
	}
}

func TestAPortThatTheKernelRefusesIsNotOpen(t *testing.T) {
	kernel := new(recorder)
	f := New(kernel.dial)
	if err := f.Apply(); err != nil {
		t.Fatal(err)
	}
	kernel.err = unix.ENOMEM
	if err := f.Open(443); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("err = %v", err)
	}
	kernel.err = nil
	sent := len(kernel.sent)
	if err := f.Open(443); err != nil || len(kernel.sent) == sent {
		t.Errorf("the second try sent nothing, %v", err)
	}
}
