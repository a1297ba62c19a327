# bash completion of ckptctl.  Made by docs/completions.py: do not edit.
# Goes to /usr/share/bash-completion/completions/ckptctl, or is sourced in ~/.bashrc.

_ckptctl() {
    local line=${COMP_LINE:0:COMP_POINT} words replies
    local word=${line##*[[:space:]]}
    read -ra words <<<"$line"
    mapfile -t replies < <(_CKPTCTL_COMPLETE=complete_bash COMP_WORDS=$line \
        COMP_CWORD=$((${#words[@]} - (${#word} > 0))) "$1" 2>/dev/null)
    COMPREPLY=()
    [[ ${replies[0]} ]] || return # nothing: bash goes on with the names of files
    # readline splits a word at = and replaces only the last part of it, which is $2
    COMPREPLY=("${replies[@]#"${word%"$2"}"}")
}

complete -o default -F _ckptctl ckptctl
