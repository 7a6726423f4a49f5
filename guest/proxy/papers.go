package proxy

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/tl"
)

const (
	// maxSessions bounds the sessions that are kept, the oldest go first (inference.md section 10.3).
	maxSessions = 4096
	// overlap is how long before a keyset's end the next one is used (inference.md section 10.2).
	overlap = time.Hour
	// quoteEvery is the pace of fresh quotes, cachedFor the age of the one without a nonce, attestWait how long somebody waits
	// for a report (inference.md section 9).
	quoteEvery = time.Second
	cachedFor  = time.Minute
	attestWait = 30 * time.Second
)

// papers are the documents that a proxy signs or hands out: keysets, sessions, attestation.
type papers struct {
	p     *Proxy
	keyID string

	mu       sync.Mutex
	keysets  map[Address]*edition // by the contract that they name
	sessions map[string][]byte
	order    []string

	quoting chan struct{} // has the turn to make a quote: one at a time
	quoted  time.Time
	cached  []byte
	cachedA time.Time
	cachedK string
}

// edition is a keyset as it is in force for a contract.
type edition struct {
	raw    []byte
	digest string
	until  time.Time
	inUse  [][32]byte // keys of our certificates
}

func newPapers(p *Proxy) (*papers, error) {
	public, ok := p.deps.ReceiptKey.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("receipt key is no ed25519 key")
	}
	sum := sha256.Sum256(public)
	d := &papers{p: p, keyID: "r-" + hex.EncodeToString(sum[:4]), keysets: make(map[Address]*edition), sessions: make(map[string][]byte), quoting: make(chan struct{}, 1)}
	d.quoting <- struct{}{}
	_, _, err := d.current()
	return d, err
}

// current is the keyset of the proxy's contract as it is now.
func (d *papers) current() (keyset []byte, digest string, err error) { return d.of(d.p.contract()) }

// of is the keyset that receipts for channels of a contract cite now: what runs when the root's parameters change ends under
// the contract that it began with. A certificate that was renewed, or age, makes a new one.
func (d *papers) of(contract Address) (keyset []byte, digest string, err error) {
	inUse, now := d.p.deps.TLSKeys(), d.p.deps.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.keysets[contract]; e != nil && now.Before(e.until.Add(-overlap)) && slices.Equal(inUse, e.inUse) {
		return e.raw, e.digest, nil
	}
	keys := make([]string, 0, len(inUse))
	for _, k := range inUse {
		keys = append(keys, spki(k))
	}
	public, _ := d.p.deps.ReceiptKey.Public().(ed25519.PublicKey)
	until := now.Add(d.p.cfg.Times.Keyset)
	raw := receipt.NewKeyset(receipt.Subject(contract.String()), until, d.keyID, public, keys)
	set, err := receipt.ParseKeyset(raw)
	if err != nil {
		return nil, "", err
	}
	maps.DeleteFunc(d.keysets, func(_ Address, e *edition) bool { return now.After(e.until) })
	d.keysets[contract] = &edition{raw, set.Digest(), until, inUse}
	return raw, set.Digest(), nil
}

type claim struct {
	Status string `json:"status"`
	Source string `json:"source,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// meet writes down what is known of a worker, once for its connection, and names it.
func (d *papers) meet(w *worker, root Root) string {
	now := d.p.deps.Now()
	known := func(ok bool, source, reason string) claim {
		if !ok {
			return claim{Status: "unknown"}
		}
		return claim{"asserted", source, reason}
	}
	checked := w.peer.Attested && d.p.cfg.CheckWorkers
	listed := checked && w.held == nil // the caller holds its lock
	const derived = "verifier_derived"
	sum := sha256.Sum256(w.peer.Quote)
	identity := map[string]any{
		"worker_sc": w.name, "owner": w.party.Address, "image_hash": w.image, "model_id": w.model,
		"engine": w.says.Engine,
	}
	if w.says.key != nil {
		identity["receipt_key"], identity["receipt_key_id"] = w.says.Key, w.says.KeyID
	}
	binding := map[string]any{
		"type": "tls_spki_sha256", "origin": fmt.Sprintf("cocoon://%x", w.contract.Hash), "spki_sha256": w.spki,
		"public_key": hex.EncodeToString(w.peer.Key[:]),
	}
	if w.peer.Claims != nil {
		binding["claims"] = hex.EncodeToString(w.peer.Claims)
	}
	raw, err := json.Marshal(map[string]any{
		"api_version": "aci/1", "upstream_name": "worker:" + w.name, "endpoint": nil, "verifier_id": d.p.cfg.Software,
		"established_at": now.Unix(), "expires_at": now.Add(d.p.cfg.Times.Keyset).Unix(), "identity": identity,
		"channel_binding": []any{binding},
		"claims": map[string]any{
			"tee_attested":                known(w.peer.Attested, "hardware_proven", "TDX quote verified"),
			"gpu_attested":                known(checked, derived, "judged by the measured guest"),
			"tcb_up_to_date":              known(w.peer.TCB == "UpToDate", "hardware_proven", w.peer.TCB),
			"os_known_good":               known(checked, derived, "image hash listed in root contract"),
			"serving_software_known_good": known(checked, derived, "part of the measured image"),
			"model_weights_provenance":    known(listed, derived, "dm-verity root listed in root contract"),
			"extra":                       map[string]any{"tcb_status": w.peer.TCB, "root_config_version": root.Version},
		},
		"evidence": map[string]any{
			"digest": "sha256:" + hex.EncodeToString(sum[:]),
			"data":   "data:application/octet-stream;base64," + base64.StdEncoding.EncodeToString(w.peer.Quote),
		},
	})
	if err != nil {
		return ""
	}
	s, err := receipt.ParseSession(raw)
	if err != nil {
		d.p.log.Error("Session document not readable")
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, there := d.sessions[s.ID]; !there {
		d.sessions[s.ID] = raw
		if d.order = append(d.order, s.ID); len(d.order) > maxSessions {
			delete(d.sessions, d.order[0])
			d.order = d.order[1:]
		}
	}
	return s.ID
}

// session is a document by its name; an unknown one is empty.
func (d *papers) session(id [32]byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sessions[hex.EncodeToString(id[:])]
}

// attest proves the keyset by a quote of this machine.
func (d *papers) attest(ctx context.Context, nonce *[32]byte) (tl.Object, error) {
	if d.p.deps.Attester == nil {
		return nil, notReady("this machine makes no quotes")
	}
	keyset, digest, err := d.current()
	if err != nil {
		return nil, notReady("no keyset")
	}
	ctx, cancel := context.WithTimeout(ctx, attestWait)
	defer cancel()
	select {
	case <-d.quoting:
	case <-ctx.Done():
		return nil, notReady("too many quotes asked for")
	}
	defer func() { d.quoting <- struct{}{} }()
	now := d.p.deps.Now()
	if nonce == nil && d.cachedK == digest && now.Sub(d.cachedA) < cachedFor {
		return &tl.ClientAttestation{Document: d.cached}, nil
	}
	if wait := quoteEvery - now.Sub(d.quoted); !d.quoted.IsZero() && wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, notReady("too many quotes asked for")
		}
	}
	d.quoted = d.p.deps.Now()
	var data [64]byte
	half := receipt.ReportData(digest, nonce)
	copy(data[:], half[:])
	ev, err := d.p.deps.Attester.Attest(ctx, data)
	if err != nil {
		d.p.log.Error("No quote for an attestation report")
		return nil, notReady("this machine makes no quote now")
	}
	doc, err := d.report(keyset, digest, half, ev)
	if err != nil {
		return nil, notReady("the report cannot be written")
	}
	if nonce == nil {
		d.cached, d.cachedA, d.cachedK = doc, now, digest
	}
	return &tl.ClientAttestation{Document: doc}, nil
}

// report is the attestation report of inference.md section 10.2.
func (d *papers) report(keyset []byte, digest string, data [32]byte, ev Evidence) ([]byte, error) {
	cfg := d.p.cfg
	return json.Marshal(map[string]any{
		"api_version": "aci/1", "workload_keyset_digest": digest,
		"attestation": map[string]any{
			"tee_type": "tdx", "workload_keyset": json.RawMessage(keyset), "report_data": hex.EncodeToString(data[:]),
			"source_provenance": map[string]any{
				"repo_url": cfg.Repository, "repo_commit": cfg.Commit, "image_digest": ev.ImageHash, "image_provenance": nil,
			},
			"evidence": map[string]any{
				"quote": hex.EncodeToString(ev.Quote), "event_log": base64.StdEncoding.EncodeToString(ev.EventLog),
				"image_hash": ev.ImageHash, "manifest_digest": ev.ManifestDigest, "proxy_sc": d.p.contract().String(),
				"root_contract": cfg.RootContract,
			},
		},
		"service_capabilities": map[string]any{"supported_e2ee_versions": []any{}, "serving": "aggregator"},
	})
}
