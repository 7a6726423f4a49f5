package measuretest

import (
	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// levelMutations move the platform, the TDX module or the quoting enclave among the TCB levels.
func levelMutations() []mutation {
	out := []mutation{
		{name: "no level fits", on: tds, want: "tcb_status", status: dcap.Unrecognized, answers: onTCBInfo(func(i *TCBInfo) { i.TCBLevels = i.TCBLevels[:1]; i.TCBLevels[0].TCB.PCESVN++ })},
		{name: "SGX component too old", on: tds, want: "tcb_status", status: dcap.OutOfDate, answers: onTCBInfo(func(i *TCBInfo) { i.TCBLevels[0].TCB.SGX[7].SVN++ })},
		{name: "TDX component too old", on: tds, want: "tcb_status", status: dcap.OutOfDate, answers: onTCBInfo(func(i *TCBInfo) { i.TCBLevels[0].TCB.TDX[2].SVN++ })},
		{name: "module entries are skipped", on: tds, want: codeOK, answers: onTCBInfo(func(i *TCBInfo) {
			i.TCBLevels[0].TCB.TDX[0].SVN, i.TCBLevels[0].TCB.TDX[1].SVN = 200, 200
		})},
		{
			name: "module entries count for version 0", on: tds, want: "tcb_status", status: dcap.OutOfDate,
			options: func(o *Options) { o.TEETCBSVN = [16]byte{7, 0, 3} },
			answers: onTCBInfo(func(i *TCBInfo) { i.TCBLevels[0].TCB.TDX[0].SVN++ }),
		},
		{name: "first fitting level counts", on: tds, want: "tcb_status", status: dcap.OutOfDate, answers: onTCBInfo(func(i *TCBInfo) {
			i.TCBLevels[0], i.TCBLevels[1] = i.TCBLevels[1], i.TCBLevels[0]
		})},
		{name: "old module", on: tds, want: "tcb_status", status: dcap.OutOfDate, answers: onTCBInfo(func(i *TCBInfo) { i.TDXModuleIdentities[0].TCBLevels[0].TCB.ISVSVN++ })},
		{name: "unknown module", on: tds, want: "tcb_status", answers: onTCBInfo(func(i *TCBInfo) { i.TDXModuleIdentities[0].ID = "TDX_02" })},
		{name: "module of another signer", on: tds, want: "seam", answers: onTCBInfo(func(i *TCBInfo) {
			i.TDXModuleIdentities[0].MRSigner = hexOf(make([]byte, 47)) + "01"
		})},
		{name: "signed TDX module", on: tds, want: "seam", spec: onTD(func(b *tdx.Body) { b.MRSignerSEAM[0] = 1 })},
		{name: "debug TDX module", on: tds, want: "seam", spec: onTD(func(b *tdx.Body) { b.SEAMAttributes[0] = 1 })},
		{name: "up to date with advisories", on: tds, want: codeOK, answers: func(_ *kit, s *CollateralSpec) { s.Advisories = []string{"INTEL-SA-00837"} }},
	}
	for _, s := range []dcap.Status{
		dcap.SWHardeningNeeded, dcap.ConfigurationNeeded, dcap.ConfigurationAndSWHardeningNeeded, dcap.OutOfDate,
		dcap.OutOfDateConfigurationNeeded, dcap.Revoked,
	} {
		out = append(out, mutation{
			name: "platform " + s.String(), on: tds, want: "tcb_status", status: s,
			answers: func(_ *kit, c *CollateralSpec) { c.Platform = s.String() },
		})
	}
	for _, s := range []dcap.Status{dcap.OutOfDate, dcap.Revoked} {
		out = append(out,
			mutation{name: "module " + s.String(), on: tds, want: "tcb_status", status: s, answers: func(_ *kit, c *CollateralSpec) { c.Module = s.String() }},
			mutation{name: "quoting enclave " + s.String(), on: all, want: "tcb_status", status: s, answers: func(_ *kit, c *CollateralSpec) { c.QE = s.String() }})
	}
	return append(out,
		mutation{name: "healthy SGX host", on: v3, want: codeOK, status: dcap.SWHardeningNeeded, answers: func(_ *kit, c *CollateralSpec) { c.Platform = dcap.SWHardeningNeeded.String() }},
		mutation{name: "platform OutOfDate", on: v3, want: "tcb_status", status: dcap.OutOfDate, answers: func(_ *kit, c *CollateralSpec) { c.Platform = outOfDate }})
}

func onTD(edit func(*tdx.Body)) func(*kit, *Spec) {
	return func(_ *kit, s *Spec) { s.TD = edit }
}

// tdMutations make a TD that the policy refuses.
func tdMutations() []mutation {
	return []mutation{
		{name: "debug TD", on: tds, want: "td_debug", options: func(o *Options) { o.TD.Attributes = AttributeDebug | AttributeSEPTVEDisable }},
		{name: "TD under other debug bits", on: tds, want: "td_debug", options: func(o *Options) { o.TD.Attributes = 1<<4 | AttributeSEPTVEDisable }},
		{name: "migratable TD", on: tds, want: "td_attributes", options: func(o *Options) { o.TD.Attributes = AttributeMigratable | AttributeSEPTVEDisable }},
		{name: "TD without SEPT_VE_DISABLE", on: tds, want: "td_attributes", options: func(o *Options) { o.TD.Attributes = AttributePKS }},
		{name: "TD with protection keys", on: tds, want: codeOK, options: func(o *Options) { o.TD.Attributes = AttributePKS | AttributeSEPTVEDisable }},
		{name: "TD with performance monitoring", on: tds, want: "td_attributes", options: func(o *Options) { o.TD.Attributes = 1<<63 | AttributeSEPTVEDisable }},
		{name: "TD without x87", on: tds, want: "xfam", options: func(o *Options) { o.TD.XFAM = 0x602e6 }},
		{name: "TD with unknown features", on: tds, want: "xfam", options: func(o *Options) { o.TD.XFAM = 1<<40 | defaultXFAM }},
		{name: "TD with a service TD", on: v5, want: "service_td", options: func(o *Options) { o.TD.ServiceTD = tdx.Sum([]byte("migration")) }},
		{name: "service TD in the body alone", on: v5, want: "service_td", spec: onTD(func(b *tdx.Body) { b.Service.MRServiceTD[0] = 1 })},
		{name: "service TD is not in v4", on: v4, want: codeOK, options: func(o *Options) { o.TD.ServiceTD = tdx.Sum([]byte("migration")) }},
		{name: "other firmware", on: tds, want: "image", spec: onTD(func(b *tdx.Body) { b.MRTD[0] ^= 1 })},
		{name: "other kernel", on: tds, want: "image", spec: onTD(func(b *tdx.Body) { b.RTMR[2][0] ^= 1 })},
		{name: "other configuration", on: tds, want: "image", spec: onTD(func(b *tdx.Body) { b.RTMR[3] = tdx.Sum([]byte("spec")) })},
		{name: "other owner", on: tds, want: "image", spec: onTD(func(b *tdx.Body) { b.MROwner[0] = 1 })},
		{name: "no measurements", on: tds, want: "image", spec: onTD(func(b *tdx.Body) { b.Measurements = tdx.Measurements{} })},
		{name: "other report data", on: all, want: "report_data", spec: func(_ *kit, s *Spec) { s.ReportData[0] ^= 1 }},
	}
}
