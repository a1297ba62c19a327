"""The scripts in completions/: each hands the line to the program, so that they know no command.

typer's own scripts (0.29, typer/_completion_shared.py) are not used: in bash they break at `@`
and `=`, where readline splits words (`@nvme`, `epoch=3-step=100`); in zsh they `eval` what they
got, names of files included; in fish they run the program twice.  All of them speak typer's
protocol: variables in, a value a line out, in fish's form with a tab and the line of help.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

from ckptctl.cli.completing import VARIABLE

PROGRAM = "ckptctl"

_BASH = """\
# bash completion of $program.  Made by docs/completions.py: do not edit.
# Goes to /usr/share/bash-completion/completions/$program, or is sourced in ~/.bashrc.

_$program() {
    local line=$${COMP_LINE:0:COMP_POINT} words replies
    local word=$${line##*[[:space:]]}
    read -ra words <<<"$$line"
    mapfile -t replies < <($variable=complete_bash COMP_WORDS=$$line \\
        COMP_CWORD=$$(($${#words[@]} - ($${#word} > 0))) "$$1" 2>/dev/null)
    COMPREPLY=()
    [[ $${replies[0]} ]] || return # nothing: bash goes on with the names of files
    # readline splits a word at = and replaces only the last part of it, which is $$2
    COMPREPLY=("$${replies[@]#"$${word%"$$2"}"}")
}

complete -o default -F _$program $program
"""

_ZSH = """\
#compdef $program
# zsh completion of $program.  Made by docs/completions.py: do not edit.
# Goes to a directory of $$fpath, such as /usr/share/zsh/site-functions.

local line
local -a replies
for line in "$${(@f)$$($variable=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \\
    _TYPER_COMPLETE_ARGS="$${words[1,CURRENT]}" $$words[1] 2>/dev/null)}"; do
    [[ -n $$line ]] && replies+=("$${$${line//:/\\\\:}/$$'\\t'/:}")
done
[[ $$PREFIX == --*=* ]] && compset -P '--*='
if (( $$#replies )); then
    _describe $program replies
else
    _files
fi
"""

_FISH = """\
# fish completion of $program.  Made by docs/completions.py: do not edit.
# Goes to a directory of $$fish_complete_path, such as /usr/share/fish/vendor_completions.d.

function __$program
    set -lx $variable complete_fish
    set -lx _TYPER_COMPLETE_FISH_ACTION get-args
    set -lx _TYPER_COMPLETE_ARGS (commandline -cp | string collect)
    set -l before (string match -r -- '^--[^=]+=' (commandline -ct))
    set -l replies ($program 2>/dev/null)
    if test -n "$$replies[1]" # typer says nothing by an empty line
        printf '%s\\n' "$$before"$$replies
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command $program --no-files --arguments '(__$program)'
"""


def scripts() -> Mapping[str, str]:
    """Return the text of each script by its file's name."""
    return {
        name: Template(text).substitute(program=PROGRAM, variable=VARIABLE)
        for name, text in (("ckptctl.bash", _BASH), ("_ckptctl", _ZSH), ("ckptctl.fish", _FISH))
    }
