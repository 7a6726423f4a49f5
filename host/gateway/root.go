package gateway

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/api/stats"
	"cocoon/contracts/bind"
	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/host/gateway/upstream"
)

// Root is what the gateway shows of its network's root contract.
type Root interface {
	State() follow.State
	// Newest is nil while nothing was read.
	Newest() *registry.Snapshot
}

// proxyReason is why a proxy serves less than it should; its code is empty when it does not.
func proxyReason(p upstream.Status) reason {
	switch {
	case p.State == upstream.Ready && p.Unverified:
		return reason{"proxy_unverified", p.Address, "its attestation was not accepted; it is used because the test flag says so"}
	case p.State == upstream.Refused:
		return reason{"proxy_refused", p.Address, p.Reason}
	case p.State == upstream.Connecting:
		return reason{"proxy_connecting", p.Address, "the connection is being made"}
	case p.State == upstream.Down:
		return reason{"proxy_down", p.Address, p.Reason}
	case p.State == upstream.Draining:
		return reason{"proxy_draining", p.Address, p.Reason}
	default:
		return reason{}
	}
}

// rootReasons say what is wrong with the view of the root, if there is one. An old view serves on, with its age shown, until
// it admits nobody any more: then the sessions end, and that there is none is a reason of its own.
func (s *Server) rootReasons() []reason {
	if s.cfg.Chain == nil {
		return nil
	}
	const longest = 300
	st := s.cfg.Chain.State()
	last := ""
	if st.Last != nil {
		text := st.Last.Error()
		last = "; the last attempt to read it ended with: " + text[:min(len(text), longest)]
	}
	age := st.Age.Truncate(time.Second).String()
	switch {
	case st.Err != nil:
		text := st.Err.Error()
		return []reason{{Code: string(follow.ReasonOf(st.Err)), Text: "no proxy is admitted by it: " + text[:min(len(text), longest)] + last}}
	case st.Light == follow.Red:
		return []reason{{Code: string(follow.Stale), Text: "the root contract was last seen " + age + " ago; it serves until " + registry.MaxAge.String() + last}}
	case st.Light == follow.Amber:
		return []reason{{Code: "root_config_late", Text: "the root contract was last seen " + age + " ago" + last}}
	default:
		return nil
	}
}

// chainAge is how /readyz and /jsonstats show the view.
type chainAge struct {
	Light  string `json:"light"`
	Age    int64  `json:"age_seconds"`
	Synced int64  `json:"synced_at"`
	Block  uint32 `json:"block"`
	// Version and Params are the root's counters.
	Version uint32 `json:"version"`
	Params  uint32 `json:"params_version"`
}

func (s *Server) chainAge() *chainAge {
	if s.cfg.Chain == nil {
		return nil
	}
	st := s.cfg.Chain.State()
	out := &chainAge{Light: string(st.Light), Age: int64(st.Age.Seconds()), Block: st.Seqno, Version: st.Version, Params: st.ParamsVersion}
	if st.Known {
		out.Synced = st.Synced.Unix()
	}
	return out
}

// chainFact is the view's age on the page (inference.md section 19: green below 600 s, amber below 3600 s, red).
func (s *Server) chainFact() []stats.Fact {
	if s.cfg.Chain == nil {
		return nil
	}
	st := s.cfg.Chain.State()
	if !st.Known {
		return []stats.Fact{{Name: "TON sync", Value: "never", Health: stats.Bad}}
	}
	health := map[follow.Light]stats.Health{follow.Green: stats.Good, follow.Amber: stats.Degraded, follow.Red: stats.Bad}[st.Light]
	return []stats.Fact{
		{Name: "TON sync", Value: fmt.Sprintf("%s ago, block %d", st.Age.Truncate(time.Second), st.Seqno), Health: health},
		{Name: "Root version", Value: fmt.Sprintf("%d, parameters %d", st.Version, st.ParamsVersion)},
	}
}

// registeredProxy is a row of the root's list, under the reference implementation's keys.
type registeredProxy struct {
	Seqno   uint32 `json:"seqno"`
	Clients string `json:"address_for_clients"`
	Workers string `json:"address_for_workers"`
}

// rootConfig has the keys of protocol.md section 8.2 for the root's configuration.
type rootConfig struct {
	Owner           string            `json:"owner_address"`
	ProxyHashes     []string          `json:"proxy_hashes"`
	Proxies         []registeredProxy `json:"registered_proxies"`
	LastSeqno       uint32            `json:"last_proxy_seqno"`
	WorkerHashes    []string          `json:"worker_hashes"`
	ModelHashes     []string          `json:"model_hashes"`
	Version         uint32            `json:"version"`
	StructVersion   uint8             `json:"struct_version"`
	ParamsVersion   uint32            `json:"params_version"`
	UniqueID        uint32            `json:"unique_id"`
	Test            bool              `json:"is_test"`
	Price           uint64            `json:"price_per_token"`
	WorkerFee       uint64            `json:"worker_fee_per_token"`
	PromptPrice     uint32            `json:"prompt_tokens_price_multiplier"`
	CachedPrice     uint32            `json:"cached_tokens_price_multiplier"`
	CompletionPrice uint32            `json:"completion_tokens_price_multiplier"`
	ReasoningPrice  uint32            `json:"reasoning_tokens_price_multiplier"`
	ProxyDelay      uint32            `json:"proxy_delay_before_close"`
	ClientDelay     uint32            `json:"client_delay_before_close"`
	ProxyStake      uint64            `json:"proxy_min_stake"`
	ClientStake     uint64            `json:"client_min_stake"`
	ProxyCodeHash   string            `json:"proxy_code_hash"`
	WorkerCodeHash  string            `json:"worker_code_hash"`
	ClientCodeHash  string            `json:"client_code_hash"`
}

func hexes(list []bind.Hash) []string {
	out := make([]string, 0, len(list))
	for _, h := range list {
		out = append(out, hex.EncodeToString(h[:]))
	}
	return out
}

func codeHash(code *cell.Cell) string {
	if code == nil {
		return ""
	}
	return hex.EncodeToString(code.Hash())
}

// rootConfig is nil while nothing was read.
func (s *Server) rootConfig() *rootConfig {
	if s.cfg.Chain == nil {
		return nil
	}
	root := s.cfg.Chain.Newest()
	if root == nil {
		return nil
	}
	p := root.Params
	out := &rootConfig{
		Owner: root.Owner.String(), ProxyHashes: hexes(root.ProxyHashes), WorkerHashes: hexes(root.WorkerHashes), ModelHashes: hexes(root.ModelHashes),
		Proxies: []registeredProxy{}, LastSeqno: root.LastSeqno, Version: root.Version, StructVersion: p.StructVersion, ParamsVersion: p.ParamsVersion,
		UniqueID: p.UniqueID, Test: p.IsTest, Price: uint64(p.PricePerToken), WorkerFee: uint64(p.WorkerFee), PromptPrice: p.PromptMultiplier,
		CachedPrice: p.CachedMultiplier, CompletionPrice: p.CompletionMultiplier, ReasoningPrice: p.ReasoningMultiplier, ProxyDelay: p.ProxyDelay,
		ClientDelay: p.ClientDelay, ProxyStake: uint64(p.MinProxyStake), ClientStake: uint64(p.MinClientStake),
	}
	for _, r := range root.Registered() {
		out.Proxies = append(out.Proxies, registeredProxy{r.Seqno, r.ForClients, r.ForWorkers})
	}
	out.ProxyCodeHash, out.WorkerCodeHash, out.ClientCodeHash = codeHash(p.Proxy), codeHash(p.Worker), codeHash(p.Client)
	return out
}
