import numpy as np

from siamese.identity_scores import identity_scores
from siamese.postprocessing import count_predictions
from siamese.ranking import rank_identities


def test_the_sentence_tells_who_is_answered_most_often():
    names = np.array(["ann", "bob"], dtype=object)
    table = identity_scores(np.array([[9.0, 6.0], [8.0, 1.0], [3.0, 2.0]]), names)
    ranking = rank_identities(table, query_ids=["q1", "q2", "q3"], threshold=5.0, top_k=2)
    assert count_predictions(ranking, names).sentence == (
        "3 photos: 1 called new (33%); 1 of 2 individuals stand first, ann most often (2)."
    )


def test_the_sentence_names_nobody_where_all_are_called_new():
    names = np.array(["ann"], dtype=object)
    table = identity_scores(np.array([[1.0]]), names)
    ranking = rank_identities(table, query_ids=["q1"], threshold=5.0, top_k=2)
    assert count_predictions(ranking, names).sentence == "1 photo: 1 called new (100%)."
