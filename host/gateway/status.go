package gateway

import (
	"io"
	"slices"

	"cocoon/contracts/api/stats"
	"cocoon/host/gateway/upstream"
)

// reason is why the gateway cannot serve, or serves less than it should.
type reason struct{ Code, Proxy, Text string }

// ready says whether a request would be handed on now, and what is wrong.
func (s *Server) ready() (bool, []reason) {
	ready, reasons := false, []reason{}
	for _, p := range s.cfg.Pool.Status() {
		ready = ready || p.State == upstream.Ready
		if r := proxyReason(p); r.Code != "" {
			reasons = append(reasons, r)
		}
	}
	reasons = slices.Concat(s.audited.reasons(), s.rootReasons(), reasons)
	if s.draining.Load() {
		return false, append([]reason{{Code: "disabled", Text: "the operator drains this gateway; /admin/enable ends that"}}, reasons...)
	}
	if !ready {
		reasons = append([]reason{{Code: "no_proxy_ready", Text: "no proxy takes requests"}}, reasons...)
	} else if len(s.merged()) == 0 {
		reasons = append(reasons, reason{Code: "no_models", Text: "the proxies that are connected offer no model"})
	}
	return ready, reasons
}

func (s *Server) readiness() stats.Readiness {
	var out stats.Readiness
	ready, reasons := s.ready()
	out.Ready = ready
	for _, r := range reasons {
		out.Reasons = append(out.Reasons, stats.Reason(r))
	}
	if age := s.chainAge(); age != nil {
		out.Chain = age
	}
	return out
}

// metrics writes the text for Prometheus. No label comes from a request.
func (s *Server) metrics(w io.Writer) {
	now, r := s.cfg.Now(), s.record
	var m stats.Metrics
	total := func(c *stats.Counter) float64 { return c.Read(now)[0] }
	for _, status := range statuses() {
		m.Add("gateway_requests_total", stats.KindCounter, "Requests by how they ended.", total(r.byStatus[status]), "status", status)
	}
	m.Add("gateway_requests_active", stats.KindGauge, "Requests under way.", float64(r.active.Load()))
	for _, t := range []struct {
		class string
		c     *stats.Counter
	}{{"prompt", &r.prompt}, {"cached", &r.cached}, {"completion", &r.completion}, {"reasoning", &r.reasoning}} {
		m.Add("gateway_tokens_total", stats.KindCounter, "Tokens by class; cached is a part of prompt, reasoning of completion.", total(t.c), "class", t.class)
	}
	m.Add("gateway_cost_nano_total", stats.KindCounter, "nanoTON that receipts have charged.", total(&r.nano))
	for _, t := range []struct {
		verdict string
		c       *stats.Counter
	}{{"ok", &r.receiptOK}, {"bad", &r.receiptBad}, {"missing", &r.receiptMissing}} {
		m.Add("gateway_receipts_total", stats.KindCounter, "Receipts by verdict.", total(t.c), "verdict", t.verdict)
	}
	m.Latency("gateway_first_byte_seconds", "Time to the first byte of an answer; quantiles over about ten minutes.", r.ttft, now)
	m.Latency("gateway_request_seconds", "Time of complete requests; quantiles over about ten minutes.", r.total, now)
	ready := 0
	for _, p := range s.cfg.Pool.Status() {
		if p.State == upstream.Ready {
			ready++
		}
	}
	if age := s.chainAge(); age != nil {
		m.Add("gateway_root_age_seconds", stats.KindGauge, "Age of the block in which the root contract was last seen.", float64(age.Age))
		m.Add("gateway_root_version", stats.KindGauge, "Version of the root contract.", float64(age.Version))
	}
	m.Add("gateway_proxies", stats.KindGauge, "Proxies that the configuration names.", float64(len(s.cfg.Pool.Links())))
	m.Add("gateway_proxies_ready", stats.KindGauge, "Proxies that take requests.", float64(ready))
	m.Process(now.Sub(s.started).Seconds())
	_, _ = w.Write(m.Bytes()) // the caller is gone when this does not succeed
}

// jsonCounters are the reference implementation's counters.
type jsonCounters struct {
	Queries       stats.Reading `json:"queries"`
	Success       stats.Reading `json:"success"`
	Failed        stats.Reading `json:"failed"`
	BytesReceived stats.Reading `json:"bytes_received"`
	BytesSent     stats.Reading `json:"bytes_sent"`
	Time          stats.Reading `json:"time"`
}

type jsonConnection struct {
	Address string `json:"address"`
	Ready   bool   `json:"is_ready"`
	ProxySC string `json:"proxy_sc_address"`
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
}

type jsonProxy struct {
	ProxySC  string `json:"proxy_sc_address"`
	Key      string `json:"proxy_public_key"`
	ClientSC string `json:"sc_address"`
	State    string `json:"state"`
	ToDB     int64  `json:"tokens_used_proxy_committed_to_db"`
	Max      int64  `json:"tokens_used_proxy_max"`
	// Chain, Charged and Paid are the channel's own numbers.
	Chain     unread `json:"tokens_used_proxy_committed_to_blockchain"`
	Charged   unread `json:"tokens_charged"`
	Paid      unread `json:"tokens_payed"` //nolint:misspell // the reference's key
	ImageHash string `json:"image_hash,omitempty"`
}

// unread is what only a contract knows that nothing here reads: null.
type unread = *int64

type jsonWallet struct {
	Address string `json:"address"`
	Balance unread `json:"balance"`
	Seqno   unread `json:"seqno"`
	Pending unread `json:"pending_transactions_cnt"`
	Active  unread `json:"active_transactions_cnt"`
}

// jsonStats has the keys of protocol.md section 8.2 for a client. What the chain says is absent without access to one.
type jsonStats struct {
	Status struct {
		Balance       unread `json:"wallet_balance"`
		Enabled       bool   `json:"enabled"`
		GitCommit     string `json:"git_commit"`
		GitCommitData string `json:"git_commit_data"`
		Ready         bool   `json:"ready"`
		// Synced is the time of the newest block of the root's chain; 0 without access to one.
		Synced int64     `json:"ton_last_synced_at"`
		Chain  *chainAge `json:"chain,omitempty"`
	} `json:"status"`
	Stats     jsonCounters `json:"stats"`
	LocalConf struct {
		RootAddress    string `json:"root_address"`
		OwnerAddress   string `json:"owner_address"`
		CheckProxyHash bool   `json:"check_proxy_hash"`
	} `json:"localconf"`
	Wallet      jsonWallet       `json:"wallet"`
	RootConfig  *rootConfig      `json:"root_contract_config,omitempty"`
	Connections []jsonConnection `json:"proxy_connections"`
	Proxies     []jsonProxy      `json:"proxies"`
	Receipts    struct {
		OK      stats.Reading `json:"ok"`
		Bad     stats.Reading `json:"bad"`
		Missing stats.Reading `json:"missing"`
	} `json:"receipts"`
}

func (s *Server) jsonstats() any {
	now, r := s.cfg.Now(), s.record
	var out jsonStats
	out.Status.Enabled = true
	out.Status.Ready, _ = s.ready()
	if out.Status.Chain = s.chainAge(); out.Status.Chain != nil {
		out.Status.Synced = out.Status.Chain.Synced
	}
	out.RootConfig = s.rootConfig()
	out.Status.GitCommit, out.Status.GitCommitData = s.cfg.Build.Commit, s.cfg.Build.CommitTime
	out.Stats = jsonCounters{
		Queries: r.queries(now), Success: r.success(now), Failed: r.failed(now),
		BytesReceived: r.bytesIn.Read(now), BytesSent: r.bytesOut.Read(now), Time: r.seconds.Read(now),
	}
	out.LocalConf.RootAddress, out.LocalConf.OwnerAddress, out.LocalConf.CheckProxyHash = s.cfg.Root, s.cfg.Owner, true
	out.Wallet.Address = s.cfg.Owner
	out.Connections, out.Proxies = []jsonConnection{}, []jsonProxy{}
	for _, p := range s.cfg.Pool.Status() {
		out.LocalConf.CheckProxyHash = out.LocalConf.CheckProxyHash && !p.Unverified
		out.Connections = append(out.Connections, jsonConnection{p.Address, p.State == upstream.Ready, p.Offer.ProxySC, string(p.State), p.Reason})
		if p.Offer.ProxySC != "" {
			out.Proxies = append(out.Proxies, jsonProxy{
				ProxySC: p.Offer.ProxySC, Key: hexKey(p.Offer.ProxyKey), ClientSC: p.Offer.ClientSC, State: string(p.State), ToDB: p.DBTokens,
				Max: p.MaxTokens, ImageHash: p.Offer.Peer.Image,
			})
		}
	}
	out.Receipts.OK, out.Receipts.Bad, out.Receipts.Missing = r.receiptOK.Read(now), r.receiptBad.Read(now), r.receiptMissing.Read(now)
	return out
}
