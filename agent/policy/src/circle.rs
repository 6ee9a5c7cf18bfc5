//! Names that stand for other names: in which order to look them up, and which of them come back to
//! themselves.

/// An order in which every name stands behind those that it refers to, and the circles that had to
/// be cut for it, each as the names on its way. `references` are those of each name, by their
/// numbers.
pub(crate) fn order(references: &[Vec<usize>]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut open: Vec<usize> = references.iter().map(Vec::len).collect();
    let mut users = vec![Vec::new(); references.len()];
    for (user, used) in references.iter().enumerate() {
        for used in used {
            users[*used].push(user);
        }
    }
    let mut is_done = vec![false; references.len()];
    let mut ready: Vec<usize> = (0..references.len()).filter(|n| open[*n] == 0).collect();
    let mut order = Vec::with_capacity(references.len());
    let mut circles = Vec::new();
    let mut oldest = 0;
    loop {
        while let Some(name) = ready.pop() {
            is_done[name] = true;
            order.push(name);
            for user in &users[name] {
                open[*user] -= 1;
                if open[*user] == 0 && !is_done[*user] {
                    ready.push(*user);
                }
            }
        }
        while oldest < is_done.len() && is_done[oldest] {
            oldest += 1;
        }
        if oldest == is_done.len() {
            return (order, circles);
        }
        let circle = circle_from(oldest, references, &is_done);
        ready.push(circle[0]);
        circles.push(circle);
    }
}

/// What one comes to who follows references that are not done: all of these names have one.
fn circle_from(start: usize, references: &[Vec<usize>], is_done: &[bool]) -> Vec<usize> {
    let mut seen = vec![None; references.len()];
    let mut way = vec![start];
    seen[start] = Some(0);
    loop {
        let here = way[way.len() - 1];
        let next = references[here].iter().find(|next| !is_done[**next]);
        let Some(next) = next else { return way };
        if let Some(first) = seen[*next] {
            return way.split_off(first);
        }
        seen[*next] = Some(way.len());
        way.push(*next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_behind_those_that_they_refer_to() {
        let references = [vec![2, 1], vec![2], vec![], vec![0, 0]];
        let (order, circles) = order(&references);
        assert!(circles.is_empty());
        let at = |name| order.iter().position(|n| *n == name).unwrap();
        for (name, used) in references.iter().enumerate() {
            assert!(used.iter().all(|used| at(*used) < at(name)));
        }
    }

    #[test]
    fn circles_are_cut_and_named() {
        let references = [vec![1], vec![2], vec![1], vec![3], vec![]];
        let (order, circles) = order(&references);
        assert_eq!(order.len(), 5);
        assert_eq!(circles, [vec![1, 2], vec![3]]);
    }
}
