package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
)

func (a *app) buildCommand() *cobra.Command {
	var id string
	var args []string
	cmd := &cobra.Command{
		Use:   "build TYPE IMAGE-SHA1 [NAME=SHA1]...",
		Short: "Start a build of any type with files that the builder has, and return",
		Long: `Start a build of any type with files that the builder has, and return.

The image and the files are named by their SHA-1, as "lpbuild ensure" prints
it. "lpbuild watch" follows the build.`,
		Example: `  lpbuild build binarypackage $IMAGE hello_2.10-3.dsc=$DSC hello_2.10.orig.tar.gz=$ORIG \
    --arg series=bookworm --arg suite=bookworm --arg ogrecomponent=main`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, words []string) error {
			r := buildd.Request{BuildID: id, Tag: words[0], Image: words[1]}
			var files ordered.Builder[string]
			for _, word := range words[2:] {
				name, sum, ok := strings.Cut(word, "=")
				if !ok || name == "" {
					return fmt.Errorf("%q is no file: want NAME=SHA1", word)
				}
				files.Set(name, sum)
			}
			r.Files = files.Map()
			var err error
			if r.Args, err = parseArgs(args); err != nil {
				return err
			}
			c, err := a.builder()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Build(cmd.Context(), r); err != nil {
				return refusal(err)
			}
			a.out.emit(event{Event: "accepted", BuildID: id})
			a.out.say("The builder works on it; 'lpbuild watch' shows how.")
			a.out.result("%s", id)
			return nil
		},
	}
	cmd.Flags().StringVar(&id, "id", newBuildID(), "`name` of the build")
	cmd.Flags().Lookup("id").DefValue = "LOCAL-, and something random"
	addArgFlag(cmd, &args)
	return cmd
}

// newBuildID makes the name of a build that no manager knows of.
func newBuildID() string {
	short, _, _ := strings.Cut(uuid.NewString(), "-")
	return "LOCAL-" + short
}

// addArgFlag adds the flag of all commands that build.
func addArgFlag(cmd *cobra.Command, args *[]string) {
	cmd.Flags().StringArrayVar(args, "arg", nil, "argument of the build: `key=text`, or key:=JSON for other types, e.g. arch_indep:=true")
}

// parseArgs reads arguments of a build.
func parseArgs(texts []string) (map[string]any, error) {
	args := map[string]any{}
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		typed := strings.HasSuffix(key, ":")
		key = strings.TrimSuffix(key, ":")
		if !ok || key == "" {
			return nil, fmt.Errorf("--arg %q: want key=text or key:=JSON", text)
		}
		args[key] = value
		if !typed {
			continue
		}
		v, err := parseJSON(value)
		if err != nil {
			return nil, fmt.Errorf("--arg %q: cannot read the JSON: %w", text, err)
		}
		args[key] = v
	}
	return args, nil
}

// parseJSON reads a value of the types that the protocol has.
func parseJSON(text string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	v, err := ordered.DecodeJSON(decoder)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the value")
	}
	return withNumbers(v)
}

// withNumbers makes int64 of integers and float64 of other numbers.
func withNumbers(v any) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case []any:
		for i := range v {
			if v[i], err = withNumbers(v[i]); err != nil {
				return nil, err
			}
		}
	case ordered.Struct:
		for i := range v {
			if v[i].Value, err = withNumbers(v[i].Value); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// refusal explains the answers of a builder that did not accept a build.
func refusal(err error) error {
	if unknown := (*buildd.UnknownSumError)(nil); errors.As(err, &unknown) {
		return fmt.Errorf("%w; give it to the builder with 'lpbuild ensure'", err)
	}
	return err
}
