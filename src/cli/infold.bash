# Completion of infold in bash: commands and options are what `infold help` lists, arguments are files.
_infold() {
  local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ] || { [ "$command" = help ] && [ "$COMP_CWORD" = 2 ]; }; then
    words=$("${COMP_WORDS[0]}" help 2>/dev/null | sed -n 's/^  infold \([a-z]*\) .*/\1/p')
  elif [ "${word#-}" != "$word" ]; then
    words=$("${COMP_WORDS[0]}" help "$command" 2>/dev/null | grep -oE '^  (-[a-z], )?--[a-z0-9-]+' | tr -s ' ,' '\n')
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
    return
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o filenames -F _infold infold
