package main

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"lpbuildd/buildd"
	"lpbuildd/buildd/verdict"
)

// statusReport is the output of status with --json.
type statusReport struct {
	State        string            `json:"state"`
	Drained      string            `json:"drained,omitempty"`
	Version      string            `json:"version,omitempty"`
	BuildID      string            `json:"build_id,omitempty"`
	Outcome      verdict.Outcome   `json:"outcome,omitempty"`
	Dependencies string            `json:"dependencies,omitempty"`
	FileMap      map[string]string `json:"filemap,omitempty"`
	LogTail      *string           `json:"logtail,omitempty"`
	Extra        map[string]any    `json:"extra,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what the builder is doing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.builder()
			if err != nil {
				return err
			}
			defer c.Close()
			st, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.out.json {
				a.out.object(reportOf(st))
				return nil
			}
			a.out.showStatus(st)
			return nil
		},
	}
}

// reportOf is a status for programs.
func reportOf(st buildd.Status) statusReport {
	r := statusReport{
		State: string(st.State), Drained: st.Drained, Version: st.Version, BuildID: st.BuildID, Outcome: st.Outcome,
		Dependencies: st.Dependencies, FileMap: st.FileMap, Extra: st.Extra,
	}
	if st.State == buildd.Building {
		tail := string(st.LogTail)
		r.LogTail = &tail
	}
	return r
}

// showStatus prints a status for people.
func (p *printer) showStatus(st buildd.Status) {
	show := func(label, value string) {
		if value != "" {
			p.result("%-14s%s", label+":", printable(value))
		}
	}
	show("state", string(st.State))
	show("drained", st.Drained)
	show("version", st.Version)
	show("build", st.BuildID)
	if st.State == buildd.Waiting {
		show("outcome", string(st.Outcome)+", "+meaningOf(st))
	}
	for _, name := range slices.Sorted(maps.Keys(st.FileMap)) {
		show("result", st.FileMap[name]+"  "+name)
	}
	for _, key := range slices.Sorted(maps.Keys(st.Extra)) {
		p.result("%-14s%s", printable(key)+":", printable(jsonText(st.Extra[key])))
	}
	if len(st.LogTail) > 0 {
		p.result("end of the log:")
		_, _ = p.Write(st.LogTail)
		_ = p.flushLog()
	}
}
