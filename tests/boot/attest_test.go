package boot

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"cocoon/guest/boot"
	"cocoon/guest/config"
	"cocoon/host/localnet/simtdx"
	"cocoon/measure/bootfiles"
	"cocoon/measure/dcap"
	"cocoon/measure/launch"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/simtd"
	"cocoon/measure/spec"
	"cocoon/measure/tdx"
	"cocoon/tests/ports"
)

const (
	// networkID is the global id of local networks (contracts.md section 10.1).
	networkID = -217
	// routerPort is the router's listener inside the machine.
	routerPort = 11001
	// dialLimit bounds one attempt of the client outside; the emulated machine is slow.
	dialLimit = 60 * time.Second
)

// attested is a machine with software TDX whose router answers outside.
type attested struct {
	*subject
	seed     [measuretest.SeedSize]byte
	platform *measuretest.Platform
	faults   []string
	// outside is the host's port that leads to the router, pcs that of the provisioning service.
	outside, pcs int
	// shared says that another machine brings the provisioning service.
	shared bool
	// hash is what measure predict printed.
	hash tdx.Hash
}

// imitate gives a machine software TDX, behind the two ports that PID 1 and its service look for.
func imitate(s *subject) *attested {
	s.t.Helper()
	free := ports.Free(s.t, 2)
	a := &attested{subject: s, seed: [measuretest.SeedSize]byte{7}, outside: free[0], pcs: free[1]}
	var err error
	if a.platform, err = measuretest.NewPlatform(measuretest.Options{Seed: a.seed, Now: time.Now()}); err != nil {
		s.t.Fatal(err)
	}
	a.runtime.Network.Mode = config.DHCP
	a.machine.Until = boot.StageReady
	for i, port := range []string{"org.cocoon.simtdx", "org.cocoon.simtdx.router"} {
		id := "simtdx" + strconv.Itoa(i)
		a.machine.Extra = append(a.machine.Extra,
			"-chardev", fmt.Sprintf("socket,id=%s,path=%s,server=off,reconnect=1", id, a.socket(i)),
			"-device", fmt.Sprintf("virtserialport,chardev=%s,name=%s", id, port))
	}
	return a
}

// newAttested prepares a proxy machine whose measured configuration starts a router for anybody.
func newAttested(t *testing.T) *attested {
	t.Helper()
	a := imitate(newSubject(t, proxyImage, bootfiles.Test, launch.BootUKI))
	a.machine.Paths.Netdev = fmt.Sprintf("user,hostfwd=tcp:127.0.0.1:%d-:%d", a.outside, routerPort)
	a.files = append(a.files, spec.File{Path: "router.json", Data: encode(t, a.routerConfig("any", nil, reverse(routerPort, "any", 11101)))})
	return a
}

func (a *attested) socket(i int) string { return filepath.Join(a.dir, "simtdx"+strconv.Itoa(i)) }

// routerConfig is the measured configuration of a router, with one policy besides those that come with it.
func (a *attested) routerConfig(name string, rules map[string]any, ports ...map[string]any) map[string]any {
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.platform.RootCertificate().Raw})
	doc := map[string]any{
		"network":    "local",
		"claims":     map[string]any{"role": "proxy", "network_id": networkID},
		"simulated":  map[string]any{"device": "port:org.cocoon.simtdx.router", "root": string(root)},
		"collateral": map[string]any{"pccs_url": fmt.Sprintf("http://10.0.2.2:%d", a.pcs)},
		"ports":      ports,
	}
	if rules != nil {
		rules["allow_simulated"], rules["allowed_collateral_root_hashes"] = true, []dcap.RootID{a.platform.RootID()}
		doc["policies"] = []any{map[string]any{"name": name, "type": "tdx", "tdx_config": rules}}
	}
	return doc
}

// reverse is a listener for peers outside.
func reverse(port int, policy string, inner int) map[string]any {
	return map[string]any{
		"port": port, "type": "reverse", "policy_name": policy, "destination_host": "localhost", "destination_port": inner,
		"pow_difficulty": 4,
	}
}

// predict runs `measure predict` on the image, the machine and the spec, as an auditor does.
func (a *attested) predict() *simtdx.Prediction {
	a.t.Helper()
	shape, err := a.machine.Shape.Encode()
	if err != nil {
		a.t.Fatal(err)
	}
	folder := filepath.Join(a.dir, "spec")
	for _, f := range a.files {
		path := filepath.Join(folder, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			a.t.Fatal(err)
		}
		write(a.t, filepath.Dir(path), filepath.Base(path), f.Data)
	}
	in := needs(a.t)
	cmd := exec.CommandContext(a.t.Context(), "go", "run", "./cmd/measure", "predict", a.built.Dir,
		"--shape", write(a.t, a.dir, "shape.json", shape), "--spec", folder, "-o", "json")
	cmd.Dir = in.Root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		a.t.Fatalf("measure predict: %v\n%s", err, stderr.String())
	}
	p, err := simtdx.ReadPrediction(bytes.NewReader(out), "")
	if err != nil {
		a.t.Fatal(err)
	}
	if p.ImageHash == nil {
		a.t.Fatal("measure predict printed no image hash")
	}
	return p
}

// simulate starts the software TDX with what was predicted for the machine.
func (a *attested) simulate(p *simtdx.Prediction) {
	a.t.Helper()
	a.hash = *p.ImageHash
	s, err := simtdx.New(a.t.Context(), simtdx.Config{
		Seed: a.seed, Now: time.Now(), Log: slog.New(slog.DiscardHandler), Prediction: p, Faults: a.faults, PCS: a.provisioning(),
		Guests: []simtd.Address{{Network: simtd.Unix, Path: a.socket(0)}, {Network: simtd.Unix, Path: a.socket(1)}},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(a.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	a.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			a.t.Errorf("software TDX: %v", err)
		}
	})
}

// provisioning is where the provisioning service listens; empty when another machine's serves this one too.
func (a *attested) provisioning() string {
	if a.shared {
		return ""
	}
	return fmt.Sprintf("127.0.0.1:%d", a.pcs)
}

// outsider is a client outside and what it believes.
type outsider struct {
	roots      *dcap.Roots
	collateral *measuretest.CollateralSpec
	now        func() time.Time
	rules      policy.Rules
}

// believer trusts the software TDX and the predicted image.
func (a *attested) believer() outsider {
	rules := policy.Defaults(policy.TDX)
	rules.AllowSimulated, rules.CollateralRoots, rules.AllowedImages = true, []dcap.RootID{a.platform.RootID()}, []tdx.Hash{a.hash}
	return outsider{roots: a.platform.Roots(), now: time.Now, rules: rules}
}

// source opens the collateral that an outsider has at its time.
type source struct {
	o        outsider
	platform *measuretest.Platform
}

func (s source) Collateral(ctx context.Context, p dcap.Platform) (*dcap.Collateral, error) {
	if s.o.collateral == nil {
		return s.platform.Collateral(ctx, p)
	}
	b, err := s.platform.BundleWith(*s.o.collateral)
	if err != nil {
		return nil, err
	}
	return dcap.Open(b, s.o.roots, s.o.now())
}

// dial connects as the outsider and returns the verdict's code.
func (a *attested) dial(o outsider) (policy.Code, *ratls.Conn) {
	a.t.Helper()
	rules, err := policy.New(o.rules)
	if err != nil {
		a.t.Fatal(err)
	}
	judge, err := ratls.NewJudge(ratls.JudgeConfig{Verifier: dcap.NewVerifier(o.roots, 8), Collateral: source{o, a.platform}, Now: o.now})
	if err != nil {
		a.t.Fatal(err)
	}
	own, err := ratls.NewIdentity(ratls.IdentityConfig{Now: time.Now, Claims: func(context.Context) (cert.Claims, error) {
		return cert.Claims{Role: cert.RoleTool, NetworkID: networkID}, nil
	}})
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(a.t.Context(), dialLimit)
	defer cancel()
	if err := own.Refresh(ctx); err != nil {
		a.t.Fatal(err)
	}
	d := ratls.Dialer{Endpoint: ratls.Endpoint{Credentials: own, Judge: judge, Terms: ratls.Fixed(ratls.Terms{Policy: rules})}}
	conn, err := d.Dial(ctx, fmt.Sprintf("127.0.0.1:%d", a.outside))
	if err != nil {
		a.t.Logf("refused: %v", err)
	}
	return ratls.CodeOf(err), conn
}

// TestAClientOutsideVerifiesTheMachine: the certificate of a booted machine is verified against the hash that measure
// predict printed, and refused by its rule's name by everybody who should not believe it.
func TestAClientOutsideVerifiesTheMachine(t *testing.T) {
	t.Parallel()
	a := newAttested(t)
	a.simulate(a.predict())
	asked := false
	a.machine.During = func(stage string) {
		if stage == boot.StageReady {
			asked = true
			a.checkOutsiders()
		}
	}
	run := a.start()
	if !asked {
		t.Fatalf("the machine is not ready; the stages are %v; console:\n%s", names(run), run.Tail())
	}
	if got := detail(t, run, boot.StageIdentity, "image_hash"); got != a.hash.String() {
		t.Errorf("the machine's own quote has image hash %v, predicted is %s", got, a.hash)
	}
	for _, stage := range []string{boot.StageTD, boot.StageReady} {
		if detail(t, run, stage, "simulated") != true {
			t.Errorf("stage %s does not say that the TD is an imitation", stage)
		}
	}
	t.Logf("quote and certificate after %.1f s, ready after %.1f s", run.Reached[boot.StageIdentity].Seconds(), run.Reached[boot.StageReady].Seconds())
}

// checkOutsiders connects with every kind of belief.
func (a *attested) checkOutsiders() {
	t := a.t
	code, conn := a.dial(a.believer())
	if code != policy.OK {
		t.Errorf("a client with the predicted hash is told %s", code)
		return
	}
	if got := conn.Peer.Verdict.ImageHash; got != a.hash {
		t.Errorf("the verdict is about image %s, predicted is %s", got, a.hash)
	}
	if conn.Peer.Profile != ratls.V2 {
		t.Errorf("the machine speaks profile %v", conn.Peer.Profile)
	}
	_ = conn.Close()
	later := func(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }
	for name, tc := range map[string]struct {
		change func(o *outsider)
		want   policy.Code
	}{
		"another image": {func(o *outsider) { o.rules.AllowedImages = []tdx.Hash{{1}} }, "image"},
		"production policy": {func(o *outsider) {
			o.roots, o.rules.AllowSimulated, o.rules.CollateralRoots = dcap.IntelRoots(), false, []dcap.RootID{dcap.IntelRootID()}
		}, "root"},
		"expired":          {func(o *outsider) { o.now = later(25 * time.Hour) }, "cert_expired"},
		"revoked platform": {func(o *outsider) { o.collateral = &measuretest.CollateralSpec{RevokePCK: true} }, "revoked"},
		"stale collateral": {func(o *outsider) {
			o.collateral = &measuretest.CollateralSpec{Now: time.Now().Add(-60 * 24 * time.Hour)}
		}, "collateral_expired"},
		"platform too old":  {func(o *outsider) { o.collateral = &measuretest.CollateralSpec{Platform: "OutOfDate"} }, "tcb_status"},
		"another network":   {func(o *outsider) { o.rules.Claims.Require, o.rules.Claims.NetworkID = true, new(int32(-239)) }, "cert_network"},
		"another role":      {func(o *outsider) { o.rules.Claims.Role = new(policy.RoleWorker) }, "cert_role"},
		"an empty list":     {func(o *outsider) { o.rules.AllowedImages = nil }, "policy_empty"},
		"another processor": {func(o *outsider) { o.rules.FMSPC.Deny = [][6]byte{a.fmspc()} }, "platform"},
	} {
		o := a.believer()
		tc.change(&o)
		if code, conn := a.dial(o); code != tc.want {
			t.Errorf("%s: %s, want %s", name, code, tc.want)
			if conn != nil {
				_ = conn.Close()
			}
		}
	}
}

func (a *attested) fmspc() [6]byte {
	a.t.Helper()
	b, err := a.platform.Quote(a.t.Context(), [tdx.ReportDataSize]byte{})
	if err != nil {
		a.t.Fatal(err)
	}
	p, err := dcap.PlatformOf(b)
	if err != nil {
		a.t.Fatal(err)
	}
	return p.FMSPC
}

// TestAChangedImageIsRefused: a machine that boots another initrd has another hash; the client with the old one refuses.
func TestAChangedImageIsRefused(t *testing.T) {
	t.Parallel()
	a := newAttested(t)
	before := a.predict()
	raw, err := bootfiles.EncodeImage(bootfiles.Image{Name: proxyImage + "x", Profile: proxyImage, Variant: bootfiles.Test, Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	a.rebuild(bootfiles.Cmdline(bootfiles.Test), map[string][]byte{bootfiles.ImagePath: raw})
	changed := a.predictRebuilt()
	if *changed.ImageHash == *before.ImageHash || changed.RTMR2 == before.RTMR2 {
		t.Fatal("another initrd has the same prediction")
	}
	a.simulate(changed)
	a.machine.During = func(stage string) {
		if stage != boot.StageReady {
			return
		}
		if code, _ := a.dial(a.believer()); code != policy.OK {
			t.Errorf("a client with the new hash is told %s", code)
		}
		o := a.believer()
		o.rules.AllowedImages = []tdx.Hash{*before.ImageHash}
		if code, _ := a.dial(o); code != "image" {
			t.Errorf("a client with the old hash is told %s", code)
		}
	}
	if run := a.start(); run.Failed() != "" || len(run.Stages) == 0 {
		t.Errorf("the stages are %v; console:\n%s", names(run), run.Tail())
	}
}

// predictRebuilt predicts the image that rebuild made.
func (a *attested) predictRebuilt() *simtdx.Prediction {
	a.t.Helper()
	raw, err := os.ReadFile(a.machine.Paths.UKI)
	if err != nil {
		a.t.Fatal(err)
	}
	img, err := launch.UKIImage(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	fw, err := os.ReadFile(a.machine.Paths.Firmware)
	if err != nil {
		a.t.Fatal(err)
	}
	r := rehearsal{in: needs(a.t), qemu: installedQEMU(a.t), firmware: fw, shape: a.machine.Shape}
	p := r.predict(a.t, img, false)
	rtmr3 := a.rtmr3().Final
	m := p.Measurements(rtmr3)
	hash, err := p.ImageHash(rtmr3)
	if err != nil {
		a.t.Fatal(err)
	}
	return &simtdx.Prediction{Shape: a.machine.Shape.Name, MRTD: m.MRTD, RTMR0: m.RTMR[0], RTMR1: m.RTMR[1], RTMR2: m.RTMR[2], ImageHash: &hash}
}

// TestADebugTDServesNobody: the router judges its own certificate first, and with a debug TD's the boot stops there.
func TestADebugTDServesNobody(t *testing.T) {
	t.Parallel()
	a := newAttested(t)
	a.faults = []string{"debug-td"}
	a.simulate(a.predict())
	a.machine.Until = ""
	run := a.start()
	if got := run.Failed(); got != boot.StageService {
		t.Fatalf("the boot failed at %q; the stages are %v; console:\n%s", got, names(run), run.Tail())
	}
	if !bytes.Contains([]byte(run.Console), []byte("td_debug")) {
		t.Errorf("the rule's name is not on the console:\n%s", run.Tail())
	}
}
