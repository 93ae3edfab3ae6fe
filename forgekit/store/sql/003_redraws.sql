-- A rewrite that failed leaves its parent the best version; that one may be drawn again.
insert into status_transitions values ('archived', 'needs_refinement');
