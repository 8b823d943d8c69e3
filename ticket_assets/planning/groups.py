"""The groups that the lineage shows."""

# In the order in which mail passes through them, which is the order of the alphabet as well. No
# arrow of the lineage leads back to an earlier group.
MAIL = "1_mail"
TEXT = "2_text"
LEARNING = "3_learning"
SORTING = "4_sorting"
DRIFT = "5_drift"
DELIVERY = "6_delivery"
